package broker

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/pause"
	brokerpb "github.com/micro/platform/proto/broker"
)

const (
	// idlePing is how often a connection that says nothing is tried, and how
	// soon it has to answer.
	idlePing = 2 * time.Second
	// retryAfter is the wait before another try after the connection was lost.
	retryAfter = 250 * time.Millisecond
	// tellTimeout bounds telling Redis of a subscription.
	tellTimeout = 5 * time.Second
)

// listeners are the subscribers of this process for one channel or pattern of
// Redis. ready is closed when Redis has confirmed it.
type listeners struct {
	pattern     bool
	subscribers []*subscriber
	ready       chan struct{}
}

// bus brings what Redis says to the subscribers of this process.
type bus struct {
	redis   redis.UniversalClient
	log     *slog.Logger
	process string
	opts    Options
	idle    time.Duration // idlePing

	// changed wakes hearLoop, which alone tells Redis what to say: that may take
	// its time, for which nobody holds mu.
	changed chan struct{}
	// rejoined wakes tellLoop: who publishes while this process does not listen
	// takes the members of its queues for gone.
	rejoined chan struct{}

	mu      sync.Mutex
	pubsub  *redis.PubSub
	heard   map[string]*listeners // by channel or pattern
	told    map[string]*listeners // whom pubsub was told of
	untold  map[string]bool       // where heard and told may differ
	members map[queue][]*subscriber
	spaces  map[string]*space // by namespace
}

func newBus(r redis.UniversalClient, log *slog.Logger, o Options) *bus {
	b := &bus{redis: r, log: log, process: rand.Text(), opts: o, idle: idlePing, changed: make(chan struct{}, 1), rejoined: make(chan struct{}, 1),
		heard: map[string]*listeners{}, told: map[string]*listeners{}, untold: map[string]bool{}, members: map[queue][]*subscriber{}, spaces: map[string]*space{}}
	b.heard[process(b.process)] = &listeners{ready: make(chan struct{})}
	b.change(process(b.process))
	b.pubsub = r.Subscribe(context.Background()) // to nothing yet: it connects in run
	return b
}

// run brings messages until ctx ends.
func (b *bus) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, b.close)
	defer stop()
	defer b.close()
	said, asked := "", false
	for ctx.Err() == nil {
		in, err := b.connection().ReceiveTimeout(ctx, b.idle)
		var timeout net.Error
		switch {
		case err == nil:
			said, asked = "", false
			b.take(ctx, in)
		case ctx.Err() != nil:
		case errors.As(err, &timeout) && timeout.Timeout() && !asked:
			b.connection().Ping(ctx) //nolint:errcheck // a lost connection shows at the next read
			asked = true
		case asked: // and not answered
			b.log.WarnContext(ctx, "messages are not heard of, connecting again", "error", err)
			b.reconnect(ctx)
			asked = false
		default:
			if err.Error() != said { // one that lasts is said once
				b.log.WarnContext(ctx, "messages are not heard of, trying again", "error", err)
				said = err.Error()
			}
			pause.For(ctx, retryAfter) //nolint:errcheck // the loop ends
		}
	}
	return nil
}

func (b *bus) connection() *redis.PubSub {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pubsub
}

func (b *bus) close() { b.connection().Close() }

// reconnect gives up a connection that says nothing, and listens by another one.
func (b *bus) reconnect(ctx context.Context) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pubsub.Close()
	b.pubsub = b.redis.Subscribe(ctx) // to nothing yet
	clear(b.told)
	for name := range b.heard {
		b.change(name)
	}
	if ctx.Err() != nil {
		b.pubsub.Close() // close has come by already
	}
}

func (b *bus) take(ctx context.Context, in any) {
	switch in := in.(type) {
	case *redis.Subscription:
		if in.Kind == "subscribe" || in.Kind == "psubscribe" {
			b.confirm(in.Channel)
		}
	case *redis.Message:
		if in.Channel == process(b.process) {
			b.deliverLetter(ctx, in.Payload)
			return
		}
		b.deliver(in)
	}
}

func (b *bus) confirm(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.heard[name]
	if l == nil {
		return
	}
	select {
	case <-l.ready: // Redis was away, and confirms again
	default:
		close(l.ready)
		return
	}
	if name == process(b.process) {
		select {
		case b.rejoined <- struct{}{}:
		default:
		}
	}
}

// deliver offers a message to all who listen to its channel.
func (b *bus) deliver(in *redis.Message) {
	name := in.Channel
	if in.Pattern != "" {
		name = in.Pattern
	}
	_, topic, _ := strings.Cut(in.Channel, "}:topic:")
	m := &brokerpb.Message{}
	if err := proto.Unmarshal([]byte(in.Payload), m); err != nil {
		b.log.Error("a message cannot be read", "error", err)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.heard[name]
	if l == nil {
		return
	}
	for _, s := range l.subscribers {
		if in.Pattern == "" || matches(s.topic, topic) {
			s.offer(m, false)
			b.relieve(s.space)
		}
	}
}

// deliverLetter gives a message to one member of a queue, in turn. If none here
// can take it, another process gets it.
func (b *bus) deliverLetter(ctx context.Context, payload string) {
	l, err := parseLetter(payload)
	m := &brokerpb.Message{}
	if err == nil {
		err = proto.Unmarshal([]byte(l.message), m)
	}
	if err != nil {
		b.log.Error("a message for a queue cannot be read", "error", err)
		return
	}
	if b.offerOne(l.queue, m) {
		return
	}
	// With this process's own entry gone, the message does not come back.
	err = b.tell(ctx, l.queue)
	if err == nil {
		err = publish(ctx, b.redis, l.queue.namespace, l.topic, l.queue, []byte(l.message))
	}
	if err != nil {
		b.log.WarnContext(ctx, "a message of a queue is lost", "error", err)
	}
}

// offerOne is false when there is no member.
func (b *bus) offerOne(q queue, m *brokerpb.Message) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	members := b.members[q]
	for i, s := range members {
		if !s.offer(m, i < len(members)-1) {
			continue
		}
		b.relieve(s.space)
		// Who had one goes to the end of the line.
		b.members[q] = append(slices.Delete(members, i, i+1), s)
		return true
	}
	return len(members) > 0
}

// add makes a subscriber hear messages, and comes back when it does.
func (b *bus) add(ctx context.Context, s *subscriber) error {
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	ready, err := b.enter(s)
	if err == nil && s.queue != "" {
		err = b.tell(ctx, s.of())
	}
	if err == nil {
		select {
		case <-ready:
			return nil
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if errors.Code(err) == codes.ResourceExhausted {
		return err
	}
	b.remove(s)
	return errors.New(codes.Unavailable, "messages cannot be heard now, try again").Because(err)
}

func (s *subscriber) of() queue { return queue{s.namespace, s.topic, s.queue} }

// channelOf is what a subscriber hears of messages by.
func (b *bus) channelOf(s *subscriber) string {
	switch {
	case s.queue != "":
		return process(b.process)
	case wild(s.topic):
		return pattern(s.namespace, s.topic)
	default:
		return channel(s.namespace, s.topic)
	}
}

func (b *bus) enter(s *subscriber) (ready chan struct{}, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if x := b.spaces[s.namespace]; x == nil {
		b.spaces[s.namespace] = newSpace()
	} else if len(x.subscribers) >= b.opts.Subscribers {
		return nil, errors.New(codes.ResourceExhausted, "namespace %q has %d subscribers, which is the limit", s.namespace, b.opts.Subscribers)
	}
	s.space = b.spaces[s.namespace]
	s.space.subscribers[s] = true
	name := b.channelOf(s)
	if s.queue != "" {
		b.members[s.of()] = append(b.members[s.of()], s)
		return b.heard[name].ready, nil
	}
	l := b.heard[name]
	if l == nil {
		l = &listeners{pattern: wild(s.topic), ready: make(chan struct{})}
		b.heard[name] = l
		b.change(name)
	}
	l.subscribers = append(l.subscribers, s)
	return l.ready, nil
}

// remove is the opposite of add.
func (b *bus) remove(s *subscriber) {
	if s.queue != "" {
		ctx, cancel := context.WithTimeout(context.Background(), tellTimeout)
		defer cancel()
		b.leaveQueue(ctx, s)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.uncount(s)
	name := b.channelOf(s)
	l := b.heard[name]
	l.subscribers = slices.DeleteFunc(l.subscribers, func(o *subscriber) bool { return o == s })
	if len(l.subscribers) == 0 {
		delete(b.heard, name)
		b.change(name)
	}
}

// leaveQueue also gives what the member had not yet sent to another one.
func (b *bus) leaveQueue(ctx context.Context, s *subscriber) {
	b.mu.Lock()
	b.uncount(s)
	q := s.of()
	b.members[q] = slices.DeleteFunc(b.members[q], func(o *subscriber) bool { return o == s })
	if len(b.members[q]) == 0 {
		delete(b.members, q)
	}
	b.mu.Unlock()
	if err := b.tell(ctx, q); err != nil {
		b.log.WarnContext(ctx, "others are not told that a member of a queue left", "error", err)
	}
	for _, m := range s.take() {
		if b.offerOne(q, m) {
			continue
		}
		message, err := proto.Marshal(m)
		if err == nil {
			err = publish(ctx, b.redis, q.namespace, m.GetHeader()["Micro-Topic"], q, message)
		}
		if err != nil {
			b.log.WarnContext(ctx, "a message of a queue is lost", "error", err)
			return
		}
	}
}

func (b *bus) uncount(s *subscriber) {
	if delete(s.space.subscribers, s); len(s.space.subscribers) == 0 && b.spaces[s.namespace] == s.space {
		delete(b.spaces, s.namespace)
	}
}

// tell says how many members of a queue this process has.
func (b *bus) tell(ctx context.Context, q queue) error {
	b.mu.Lock()
	n := len(b.members[q])
	b.mu.Unlock()
	return tell(ctx, b.redis, b.process, map[queue]int{q: n})
}

// tellLoop says again and again what members there are, since Redis forgets.
func (b *bus) tellLoop(ctx context.Context) error {
	tick := time.NewTicker(queueTTL / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-b.rejoined:
		}
		all := map[queue]int{}
		b.mu.Lock()
		for q, members := range b.members {
			all[q] = len(members)
		}
		b.mu.Unlock()
		if err := tell(ctx, b.redis, b.process, all); err != nil && ctx.Err() == nil {
			b.log.WarnContext(ctx, "others are not told of the members of queues", "error", fmt.Errorf("redis: %w", err))
		}
	}
}
