package events

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/full"
	"github.com/micro/platform/internal/quota"
	eventspb "github.com/micro/platform/proto/events"
)

// blobField holds an event, without its id and topic, in an entry of a stream.
const blobField = "e"

// db is the durable Redis.
type db struct{ client redis.UniversalClient }

// entry is an event as it is in Redis.
type entry struct {
	at      position
	blob    []byte
	attempt int64 // how often it is sent to the group, this time included
}

func toEntry(m redis.XMessage) (entry, error) {
	at, err := parsePosition(m.ID)
	if err != nil {
		return entry{}, fmt.Errorf("read entry: %w", err)
	}
	blob, _ := m.Values[blobField].(string)
	return entry{at: at, blob: []byte(blob)}, nil
}

func toEntries(ms []redis.XMessage) ([]entry, error) {
	out := make([]entry, 0, len(ms))
	for _, m := range ms {
		e, err := toEntry(m)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

func (t topic) event(e entry) (*eventspb.Event, error) {
	v := &eventspb.Event{}
	if err := proto.Unmarshal(e.blob, v); err != nil {
		return nil, fmt.Errorf("decode event %s of %s: %w", e.at, t.key(), err)
	}
	v.Id, v.Topic = t.eventID(e.at.String()), t.name()
	return v, nil
}

// away turns an error of Redis into one for the caller, who may try again.
func away(doing string, err error) error {
	if err == nil {
		return nil
	}
	var own *errors.Error
	if errors.As(err, &own) {
		return err
	}
	if told := full.Storage(err); told != nil {
		return told
	}
	return errors.New(codes.Unavailable, "events are not available now, try again").Because(fmt.Errorf("%s: %w", doing, err))
}

// register lists a topic. New ones are refused when the namespace has limit
// topics.
func (d db) register(ctx context.Context, t topic, limit plans.Limit) error {
	ok, err := registerScript.Run(ctx, d.client, []string{topics(t.namespace)}, t.name(), int64(limit)).Bool()
	if err != nil && err != redis.Nil {
		return fmt.Errorf("register topic: %w", err)
	}
	if !ok {
		return errors.New(codes.ResourceExhausted, "namespace %q may have %d topics, which is its limit \"topics\": delete one, or raise it with a larger plan (\"micro plan\" lists them)", t.namespace, limit).
			Because(&quota.Reached{Policy: "topics", Most: int64(limit)})
	}
	if err := d.client.SAdd(ctx, namespaces, t.namespace).Err(); err != nil {
		return fmt.Errorf("register namespace: %w", err)
	}
	return nil
}

// topics answers the names of a namespace's topics.
func (d db) topics(ctx context.Context, namespace string) ([]string, error) {
	names, err := d.client.SMembers(ctx, topics(namespace)).Result()
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	slices.Sort(names)
	return names, nil
}

// namespaces answers all that have topics.
func (d db) namespaces(ctx context.Context) ([]string, error) {
	names, err := d.client.SMembers(ctx, namespaces).Result()
	if err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	return names, nil
}

// remove deletes a topic with its dead letters. An event that is published
// meanwhile makes it anew: whoever makes a stream lists it afterwards, and what
// is there after the listing went is listed again.
func (d db) remove(ctx context.Context, t topic) error {
	keys, names := []string{t.key()}, []any{t.name()}
	if !t.dead {
		keys, names = append(keys, t.letters()), append(names, t.deadTopic().name())
	}
	if err := d.client.Unlink(ctx, keys...).Err(); err != nil {
		return fmt.Errorf("delete topic: %w", err)
	}
	if err := d.client.SRem(ctx, topics(t.namespace), names...).Err(); err != nil {
		return fmt.Errorf("delete topic: %w", err)
	}
	for i, key := range keys {
		n, err := d.client.Exists(ctx, key).Result()
		if err == nil && n > 0 {
			err = d.client.SAdd(ctx, topics(t.namespace), names[i]).Err()
		}
		if err != nil {
			return fmt.Errorf("delete topic: %w", err)
		}
	}
	return nil
}

// exists says whether there is such a topic.
func (d db) exists(ctx context.Context, t topic) (bool, error) {
	n, err := d.client.Exists(ctx, t.key()).Result()
	if err != nil {
		return false, fmt.Errorf("look for topic: %w", err)
	}
	return n > 0, nil
}

// span answers the positions of the newest event ever and of the newest that
// was trimmed or removed. A topic that is not there has none.
func (d db) span(ctx context.Context, t topic) (newest, trimmed position, err error) {
	info, err := d.client.XInfoStream(ctx, t.key()).Result()
	if isMissing(err) {
		return position{}, position{}, nil
	}
	if err != nil {
		return position{}, position{}, fmt.Errorf("describe topic: %w", err)
	}
	newest, err = parsePosition(info.LastGeneratedID)
	if err != nil {
		return position{}, position{}, fmt.Errorf("describe topic: %w", err)
	}
	if info.EntriesAdded > info.Length { // trimming leaves no trace of its own
		trimmed = newest
		if info.Length > 0 {
			first, err := parsePosition(info.FirstEntry.ID)
			if err != nil {
				return position{}, position{}, fmt.Errorf("describe topic: %w", err)
			}
			trimmed = first.previous()
		}
	}
	return newest, trimmed, nil
}

func (p position) previous() position {
	if p.seq == 0 {
		return position{p.ms - 1, 1<<64 - 1}
	}
	return position{p.ms, p.seq - 1}
}

// read answers up to n events after a position.
func (d db) read(ctx context.Context, t topic, after position, n int) ([]entry, error) {
	ms, err := d.client.XRangeN(ctx, t.key(), "("+after.String(), "+", int64(n)).Result()
	if err != nil {
		return nil, fmt.Errorf("read topic: %w", err)
	}
	return toEntries(ms)
}

// one answers the event at a position; false if there is none any more.
func (d db) one(ctx context.Context, t topic, at position) (entry, bool, error) {
	ms, err := d.client.XRangeN(ctx, t.key(), at.String(), at.String(), 1).Result()
	if err != nil || len(ms) == 0 {
		return entry{}, false, err
	}
	e, err := toEntry(ms[0])
	return e, true, err
}

// isMissing says whether a command failed for want of the topic or the group.
func isMissing(err error) bool {
	return err != nil && (strings.HasPrefix(err.Error(), "NOGROUP") || strings.Contains(err.Error(), "no such key") || strings.Contains(err.Error(), "requires the key to exist"))
}

func (d db) eachNode(ctx context.Context, f func(context.Context, *redis.Client) error) error {
	switch c := d.client.(type) {
	case *redis.ClusterClient:
		one := make(chan struct{}, 1) // f is called for several at once
		return c.ForEachShard(ctx, func(ctx context.Context, c *redis.Client) error {
			one <- struct{}{}
			defer func() { <-one }()
			return f(ctx, c)
		})
	case *redis.Client:
		return f(ctx, c)
	default:
		return fmt.Errorf("unknown kind of Redis client %T", c)
	}
}

// trim removes events that are older than a time, and the oldest of those that
// take more than a number of bytes.
func (d db) trim(ctx context.Context, key string, older time.Time, maxBytes int64) error {
	if err := d.client.XTrimMinID(ctx, key, strconv.FormatInt(older.UnixMilli(), 10)).Err(); err != nil {
		return fmt.Errorf("trim by age: %w", err)
	}
	return d.trimTo(ctx, key, maxBytes)
}

// trimTo removes the oldest events that take more than a number of bytes.
func (d db) trimTo(ctx context.Context, key string, maxBytes int64) error {
	used, err := d.client.MemoryUsage(ctx, key).Result()
	if err == redis.Nil || err == nil && used <= maxBytes {
		return nil
	}
	if err != nil {
		return fmt.Errorf("measure topic: %w", err)
	}
	n, err := d.client.XLen(ctx, key).Result()
	if err != nil {
		return fmt.Errorf("measure topic: %w", err)
	}
	keep := int64(float64(n) * float64(maxBytes) / float64(used))
	if err := d.client.XTrimMaxLenApprox(ctx, key, keep, 0).Err(); err != nil {
		return fmt.Errorf("trim by size: %w", err)
	}
	return nil
}

// skip answers the position n events after another, or that of the last event.
func (d db) skip(ctx context.Context, t topic, after position, n int) (position, error) {
	for n > 0 {
		page := min(n, countPage)
		count, last, err := d.count(ctx, t, after, end, page)
		if err != nil {
			return after, err
		}
		if after, n = last, n-page; count < page {
			break
		}
	}
	return after, nil
}

// end is a position after all events.
var end = position{1<<64 - 1, 1<<64 - 1}

// count answers how many events are after a position and not after another, up
// to limit, and the position of the last of them.
func (d db) count(ctx context.Context, t topic, after, last position, limit int) (int, position, error) {
	got, err := countScript.Run(ctx, d.client, []string{t.key()}, after.String(), last.String(), limit).Slice()
	if err != nil {
		return 0, after, fmt.Errorf("count events: %w", err)
	}
	n, _ := got[0].(int64)
	text, _ := got[1].(string)
	last, err = parsePosition(text)
	return int(n), last, err
}

// describe answers what there is of a topic.
func (d db) describe(ctx context.Context, t topic) (*eventspb.Topic, error) {
	v := &eventspb.Topic{Name: t.name()}
	info, err := d.client.XInfoStream(ctx, t.key()).Result()
	if isMissing(err) {
		return v, nil
	}
	if err != nil {
		return nil, fmt.Errorf("describe topic: %w", err)
	}
	bytes, err := d.client.MemoryUsage(ctx, t.key()).Result()
	if err != nil && err != redis.Nil {
		return nil, fmt.Errorf("measure topic: %w", err)
	}
	v.Events, v.Groups, v.Bytes = info.Length, info.Groups, bytes
	if info.Length == 0 {
		return v, nil
	}
	for _, end := range []struct {
		id *string
		at *int64
		m  redis.XMessage
	}{{&v.First, &v.FirstPublished, info.FirstEntry}, {&v.Last, &v.LastPublished, info.LastEntry}} {
		at, err := parsePosition(end.m.ID)
		if err != nil {
			return nil, fmt.Errorf("describe topic: %w", err)
		}
		*end.id, *end.at = t.eventID(at.String()), int64(at.ms/1000)
	}
	return v, nil
}
