package events

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/framework/errors"
)

// createGroup makes a group that begins after a position. It is no error if the
// group is there.
func (d db) createGroup(ctx context.Context, t topic, group string, after position) error {
	read, err := d.entriesRead(ctx, t, after)
	if err != nil {
		return err
	}
	err = d.client.Do(ctx, "XGROUP", "CREATE", t.key(), group, after.String(), "MKSTREAM", "ENTRIESREAD", read).Err()
	if err != nil && !strings.HasPrefix(err.Error(), "BUSYGROUP") {
		return fmt.Errorf("create group: %w", err)
	}
	return nil
}

// seek moves a group.
func (d db) seek(ctx context.Context, t topic, group string, after position) error {
	read, err := d.entriesRead(ctx, t, after)
	if err != nil {
		return err
	}
	err = d.client.Do(ctx, "XGROUP", "SETID", t.key(), group, after.String(), "ENTRIESREAD", read).Err()
	if isMissing(err) {
		return noGroup(t, group)
	}
	if err != nil {
		return fmt.Errorf("move group: %w", err)
	}
	return nil
}

func noGroup(t topic, group string) error {
	return errors.New(codes.NotFound, "no group %q of topic %q", clip(group), t.name())
}

const (
	// countPage is how many entries are counted at once. Redis has them all in
	// its memory meanwhile, with what is in them.
	countPage = 100
	// maxCounted is how many are counted at all.
	maxCounted = 200_000
)

// entriesRead answers how many events there ever were up to a position, which
// Redis needs to know a group's lag but cannot tell itself.
func (d db) entriesRead(ctx context.Context, t topic, at position) (int64, error) {
	info, err := d.client.XInfoStream(ctx, t.key()).Result()
	if isMissing(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("describe topic: %w", err)
	}
	last, err := parsePosition(info.LastGeneratedID)
	if err != nil || info.Length == 0 || at.compare(last) >= 0 {
		return info.EntriesAdded, err
	}
	first, err := parsePosition(info.FirstEntry.ID)
	if err != nil || at.compare(first) < 0 {
		return info.EntriesAdded - info.Length, err
	}
	later := int64(0)
	for later < maxCounted {
		n, counted, err := d.count(ctx, t, at, last, countPage)
		if err != nil {
			return 0, err
		}
		if later += int64(n); n < countPage {
			return info.EntriesAdded - later, nil
		}
		at = counted
	}
	// The rest is taken to be spread evenly over the time.
	part := float64(last.ms-at.ms) / float64(max(1, last.ms-first.ms))
	return info.EntriesAdded - min(info.Length, later+int64(part*float64(info.Length))), nil
}

func (d db) deleteGroup(ctx context.Context, t topic, group string) error {
	n, err := d.client.XGroupDestroy(ctx, t.key(), group).Result()
	if err != nil && !isMissing(err) {
		return fmt.Errorf("delete group: %w", err)
	}
	if n == 0 {
		return noGroup(t, group)
	}
	return nil
}

// groups describes the groups of a topic.
func (d db) groups(ctx context.Context, t topic) ([]redis.XInfoGroup, error) {
	groups, err := d.client.XInfoGroups(ctx, t.key()).Result()
	if isMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	slices.SortFunc(groups, func(a, b redis.XInfoGroup) int { return strings.Compare(a.Name, b.Name) })
	return groups, d.mendLags(ctx, t, groups)
}

// firstPending answers the id of a group's oldest event that was sent and is not
// acknowledged, "" if there is none any more.
func (d db) firstPending(ctx context.Context, t topic, group string) (string, error) {
	p, err := d.client.XPending(ctx, t.key(), group).Result()
	if isMissing(err) || err == nil && p.Lower == "" {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look for pending events: %w", err)
	}
	return t.eventID(p.Lower), nil
}

// once is a command that the client does not send again when the answer is lost:
// the events of that answer would come after those of the next.
type once struct{ *redis.XStreamSliceCmd }

// NoRetry implements redis.Cmder.
func (once) NoRetry() bool { return true }

// readGroup gives a process up to n events that nobody of the group has had.
func (d db) readGroup(ctx context.Context, t topic, group, process string, n int) ([]entry, error) {
	cmd := once{redis.NewXStreamSliceCmd(ctx, "XREADGROUP", "GROUP", group, process, "COUNT", n, "STREAMS", t.key(), ">")}
	_ = d.client.Process(ctx, cmd) // the command has the error
	streams, err := cmd.Result()
	if err == redis.Nil || err == nil && len(streams) == 0 {
		return nil, nil
	}
	if isMissing(err) {
		return nil, noGroup(t, group)
	}
	if err != nil {
		return nil, fmt.Errorf("read group: %w", err)
	}
	entries, err := toEntries(streams[0].Messages)
	for i := range entries {
		entries[i].attempt = 1
	}
	return entries, err
}

// take gives a process up to takePage events after a position that were given to
// another, and answers the position of the last; below it nothing is left. more
// is what is added to the times that they were sent. When they are large, some
// come without what is in them.
func (d db) take(ctx context.Context, t topic, group, process, from string, more int, after position) (taken []entry, last position, err error) {
	got, err := takeScript.Run(ctx, d.client, []string{t.key()}, group, process, from, more, takePage, "("+after.String(), maxTakenBytes).Slice()
	if isMissing(err) {
		return nil, after, noGroup(t, group)
	}
	if err != nil {
		return nil, after, fmt.Errorf("take pending events: %w", err)
	}
	last = after
	for _, x := range got {
		row, _ := x.([]any)
		if len(row) != 3 {
			return nil, after, fmt.Errorf("take pending events: unexpected answer %v", x)
		}
		id, _ := row[0].(string)
		attempt, _ := row[1].(int64)
		blob, _ := row[2].(string)
		if last, err = parsePosition(id); err != nil {
			return nil, after, fmt.Errorf("take pending events: %w", err)
		}
		switch {
		case attempt == 0: // it was trimmed
		case blob == "":
			taken = append(taken, entry{at: last, attempt: attempt})
		default:
			taken = append(taken, entry{at: last, blob: []byte(blob), attempt: attempt})
		}
	}
	return taken, last, nil
}

// give hands events to another name of the group, without counting them as sent.
func (d db) give(ctx context.Context, t topic, group, to string, at []position) error {
	if len(at) == 0 {
		return nil
	}
	err := d.client.XClaimJustID(ctx, &redis.XClaimArgs{Stream: t.key(), Group: group, Consumer: to, Messages: ids(at)}).Err()
	if err != nil && !isMissing(err) {
		return fmt.Errorf("leave events: %w", err)
	}
	return nil
}

// wake tells all processes something about a topic.
func (d db) wake(ctx context.Context, message string) error {
	if err := d.client.Publish(ctx, wakeChannel, message).Err(); err != nil {
		return fmt.Errorf("wake the consumers: %w", err)
	}
	return nil
}

func ids(at []position) []string {
	out := make([]string, len(at))
	for i, p := range at {
		out[i] = p.String()
	}
	return out
}

// again notes that a process sends an event another time, and answers it; false
// if it is gone or done.
func (d db) again(ctx context.Context, t topic, group, process string, at position, attempt int64) (entry, bool, error) {
	got, err := againScript.Run(ctx, d.client, []string{t.key()}, group, process, at.String(), attempt).Text()
	switch {
	case err == redis.Nil:
		return entry{}, false, nil
	case isMissing(err):
		return entry{}, false, noGroup(t, group)
	case err != nil:
		return entry{}, false, fmt.Errorf("send event again: %w", err)
	}
	return entry{at: at, blob: []byte(got), attempt: attempt}, true, nil
}

// done acknowledges events.
func (d db) done(ctx context.Context, t topic, group string, at []position) error {
	if err := d.client.XAck(ctx, t.key(), group, ids(at)...).Err(); err != nil {
		return fmt.Errorf("acknowledge events: %w", err)
	}
	return nil
}

// bury moves an event of a group to the dead letters, in one step. Of several
// tries, one does it. Without a group there is nothing to move it from.
func (d db) bury(ctx context.Context, t topic, group string, at position, blob []byte) error {
	if err := d.register(ctx, t.deadTopic(), plans.Unlimited); err != nil {
		return err
	}
	var err error
	if group == "" {
		err = d.client.Process(ctx, newAdd(ctx, t.letters(), blob, true))
	} else {
		err = buryScript.Run(ctx, d.client, []string{t.key(), t.letters()}, group, at.String(), blobField, blob).Err()
	}
	if err != nil {
		return fmt.Errorf("bury event: %w", err)
	}
	return d.wake(ctx, t.letters())
}

// processes answers which processes a group's events were given to, and how
// many each has.
func (d db) processes(ctx context.Context, t topic, group string) (map[string]int64, error) {
	found, err := d.client.XInfoConsumers(ctx, t.key(), group).Result()
	if isMissing(err) {
		return nil, noGroup(t, group)
	}
	if err != nil {
		return nil, fmt.Errorf("list consumers: %w", err)
	}
	out := make(map[string]int64, len(found))
	for _, c := range found {
		out[c.Name] = c.Pending
	}
	return out, nil
}

// forget removes a process from a group, unless something is left with it.
func (d db) forget(ctx context.Context, t topic, group, process string) error {
	if err := forgetScript.Run(ctx, d.client, []string{t.key()}, group, process).Err(); err != nil && err != redis.Nil {
		return fmt.Errorf("remove consumer: %w", err)
	}
	return nil
}

// alive answers which of some processes have their channel open. Redis closes it
// with the process's connection.
func (d db) alive(ctx context.Context, processes []string) (map[string]bool, error) {
	channels := make([]string, len(processes))
	for i, p := range processes {
		channels[i] = processChannel(p)
	}
	out := map[string]bool{}
	err := d.eachNode(ctx, func(ctx context.Context, c *redis.Client) error {
		counts, err := c.PubSubNumSub(ctx, channels...).Result()
		for i, ch := range channels {
			if counts[ch] > 0 {
				out[processes[i]] = true
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for processes: %w", err)
	}
	return out, nil
}

// lag answers how many events a group has before it.
func (d db) lag(ctx context.Context, t topic, group string) (int64, error) {
	groups, err := d.groups(ctx, t)
	if err != nil {
		return 0, err
	}
	for _, g := range groups {
		if g.Name == group {
			return g.Lag, nil
		}
	}
	return 0, noGroup(t, group)
}

// mendLags puts right what Redis says of groups that have not read what was
// trimmed: they have no more before them than there is.
func (d db) mendLags(ctx context.Context, t topic, groups []redis.XInfoGroup) error {
	behind := false
	for _, g := range groups {
		behind = behind || g.Lag != 0
	}
	if !behind {
		return nil
	}
	length, err := d.client.XLen(ctx, t.key()).Result()
	if err != nil {
		return fmt.Errorf("measure topic: %w", err)
	}
	for i, g := range groups {
		if g.Lag < 0 || g.Lag > length {
			groups[i].Lag = length
		}
	}
	return nil
}
