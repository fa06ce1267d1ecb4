package events

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	eventspb "github.com/micro/platform/proto/events"
)

const (
	// defaultWindow is how many events a consumer may have that are not done.
	defaultWindow = 128
	// maxPending bounds what all consumers of a group may have at a process that
	// is not done. Then the group has to wait.
	maxPending = 10_000
	// maxWaitingBytes bounds what waits for a consumer that does not read.
	maxWaitingBytes = 4 << 20
	// firstSize is the size that events are thought to have before any was seen.
	firstSize = 64 << 10
	// minBackoff and maxBackoff bound the wait before another try when Redis is
	// away.
	minBackoff = 50 * time.Millisecond
	maxBackoff = 2 * time.Second
	// ackPause is between two acknowledgements to Redis, which cost it a write to
	// the disk each. Nobody waits for them.
	ackPause = 5 * time.Millisecond
	// readPause is between two reads when a read has brought manyRead events or
	// more: while they stream in, they are read in larger parts.
	readPause = time.Millisecond
	manyRead  = 8
	// leaveTimeout is the time to acknowledge and leave events at the end.
	leaveTimeout = 5 * time.Second
)

// consumer is one Consume.
type consumer struct {
	autoAck    bool
	ackWait    time.Duration
	retryLimit int64 // -1 for ever
	window     int

	out chan sending

	// The group's lock guards these.
	pending int // events that it has and that are not done
	waiting int // bytes in out
}

// sending is an event on its way to a consumer.
type sending struct {
	at    position
	event *eventspb.Event
	bytes int
}

func (c *consumer) free() int {
	if c.waiting >= maxWaitingBytes {
		return 0
	}
	return c.window - c.pending
}

// delivery is an event that a consumer has.
type delivery struct {
	consumer *consumer
	attempt  int64
	sent     bool
	due      time.Time // to be sent again, when it was sent
}

// retry is an event that is to be sent another time.
type retry struct {
	entry      // without a blob until it is sent
	sent  bool // to a consumer that did not acknowledge it
}

// group shares the events of a topic among the consumers of this process.
type group struct {
	topic topic
	name  string
	src   source
	log   *slog.Logger
	scan  time.Duration
	now   func() time.Time

	wake  chan struct{} // something is to be done
	acks  chan struct{} // something is to be acknowledged
	stop  chan struct{} // closed when the last consumer has left
	ended chan struct{} // closed when everything is left in order
	gone  chan struct{} // closed when the hub has forgotten it
	once  sync.Once     // it is started

	mu        sync.Mutex
	consumers []*consumer
	pending   map[position]*delivery
	retries   []retry // by position
	done      []position
	lookLeft  bool // for events that others left
	lookOwn   bool // for events that were lost on the way here
	failed    chan struct{}
	err       error     // why failed is closed
	size      int       // of an event, about
	due       time.Time // of the event that is to be sent again first, or earlier; zero for none
}

func newGroup(t topic, name string, src source, scan time.Duration, log *slog.Logger) *group {
	return &group{topic: t, name: name, src: src, scan: scan, log: log, now: time.Now,
		wake: make(chan struct{}, 1), acks: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{}), gone: make(chan struct{}),
		failed: make(chan struct{}), pending: map[position]*delivery{}, lookLeft: true, lookOwn: true, size: firstSize}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run works until the last consumer has left or ctx ends, and leaves everything
// in order.
func (g *group) run(ctx context.Context) {
	defer close(g.ended)
	working, cancel := context.WithCancel(ctx)
	var acking sync.WaitGroup
	acking.Go(func() { g.ackLoop(working) })
	g.workLoop(working)
	cancel()
	acking.Wait()
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	g.leave(ctx)
}

func (g *group) workLoop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	nextScan, backoff := g.now().Add(g.scan), time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.stop:
			return
		case <-g.failed:
			return
		case <-g.wake:
		case <-timer.C:
		}
		if !g.now().Before(nextScan) {
			nextScan = g.now().Add(g.scan)
			g.look(false)
		}
		pause := time.Duration(0)
		read, err := g.work(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			if backoff = 0; read >= manyRead {
				pause = readPause
			}
		case isDecision(err):
			g.fail(err)
			return
		default:
			if backoff == 0 {
				g.log.WarnContext(ctx, "events are not read, trying again", "topic", g.topic.name(), "namespace", g.topic.namespace, "error", err)
			}
			backoff = min(max(2*backoff, minBackoff), maxBackoff)
			pause = backoff
			g.look(true) // what was read may be lost on the way here
		}
		if !g.rest(ctx, pause) {
			return
		}
		timer.Reset(max(0, min(g.untilDue(), nextScan.Sub(g.now()))))
	}
}

// rest waits, whoever wakes meanwhile. It answers false when the group ends.
func (g *group) rest(ctx context.Context, pause time.Duration) bool {
	if pause == 0 {
		return true
	}
	select {
	case <-ctx.Done():
		return false
	case <-g.stop:
		return false
	case <-time.After(pause):
		return true
	}
}

// isDecision says whether an error is for the consumers.
func isDecision(err error) bool {
	var e *errors.Error
	return errors.As(err, &e)
}

// look asks the loop to look for events that were left.
func (g *group) look(own bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lookLeft, g.lookOwn = true, g.lookOwn || own
	signal(g.wake)
}

// fail ends the consumers with an error.
func (g *group) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err == nil {
		g.err = err
		close(g.failed)
	}
}

// work sends what can be sent now, and answers how many events are new.
func (g *group) work(ctx context.Context) (read int, err error) {
	g.expire()
	if err := g.takeLeft(ctx); err != nil {
		return 0, err
	}
	for {
		r, ok := g.nextRetry()
		if !ok {
			break
		}
		if err := g.sendAgain(ctx, r); err != nil {
			return 0, err
		}
	}
	for {
		n := g.room()
		if n <= 0 {
			return read, nil
		}
		entries, err := g.src.next(ctx, n)
		if err != nil {
			return read, err
		}
		for _, e := range entries {
			if err := g.deliver(ctx, e); err != nil {
				return read, err
			}
		}
		if read += len(entries); len(entries) < n {
			return read, nil
		}
	}
}

// expire puts what was not acknowledged in time among the retries.
func (g *group) expire() {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	if g.due.IsZero() || now.Before(g.due) {
		return
	}
	g.due = time.Time{}
	for at, d := range g.pending {
		switch {
		case !d.sent:
		case !now.Before(d.due):
			g.giveBack(at, d)
		case g.due.IsZero() || d.due.Before(g.due):
			g.due = d.due
		}
	}
	g.sortRetries()
}

// giveBack makes a delivery a retry.
func (g *group) giveBack(at position, d *delivery) {
	delete(g.pending, at)
	d.consumer.pending--
	r := retry{entry: entry{at: at, attempt: d.attempt}, sent: d.sent}
	if d.sent {
		r.attempt++
	}
	g.retries = append(g.retries, r)
}

func (g *group) sortRetries() {
	slices.SortFunc(g.retries, func(a, b retry) int { return a.at.compare(b.at) })
}

// untilDue answers how long it is until something is to be sent again.
func (g *group) untilDue() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.due.IsZero() {
		return g.scan
	}
	return g.due.Sub(g.now())
}

// takeLeft adds events that others left to the retries.
func (g *group) takeLeft(ctx context.Context) error {
	g.mu.Lock()
	look, own := g.lookLeft, g.lookOwn
	g.lookLeft, g.lookOwn = false, false
	g.mu.Unlock()
	if !look {
		return nil
	}
	entries, err := g.src.left(ctx, own)
	if err != nil {
		g.look(own)
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	known := make(map[position]bool, len(g.retries)+len(g.done))
	for _, r := range g.retries {
		known[r.at] = true
	}
	for _, at := range g.done {
		known[at] = true
	}
	for _, e := range entries {
		if known[e.at] || g.pending[e.at] != nil {
			continue
		}
		g.retries = append(g.retries, retry{entry: e})
	}
	g.sortRetries()
	return nil
}

// nextRetry takes the oldest retry, if a consumer has room for it.
func (g *group) nextRetry() (retry, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.retries) == 0 || g.pick() == nil {
		return retry{}, false
	}
	r := g.retries[0]
	g.retries = g.retries[1:]
	return r, true
}

// pick answers the consumer with the most room, nil if none has any.
func (g *group) pick() *consumer {
	if len(g.consumers) == 0 {
		return nil
	}
	c := slices.MaxFunc(g.consumers, func(a, b *consumer) int { return cmp.Compare(a.free(), b.free()) })
	if c.free() <= 0 {
		return nil
	}
	return c
}

// room is how many events the consumers can take now.
func (g *group) room() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for _, c := range g.consumers {
		n += max(c.free(), 0)
	}
	return min(n, max(1, maxWaitingBytes/g.size), maxPending-len(g.pending)-len(g.retries))
}

// sendAgain sends a retry. If that fails it is a retry again.
func (g *group) sendAgain(ctx context.Context, r retry) error {
	e := r.entry
	if e.blob == nil {
		var ok bool
		var err error
		if e, ok, err = g.src.again(ctx, r.at, r.attempt); err != nil {
			g.mu.Lock()
			g.retries = slices.Insert(g.retries, 0, r)
			g.mu.Unlock()
			return err
		}
		if !ok {
			return nil // trimmed, or acknowledged elsewhere
		}
	}
	return g.deliver(ctx, e)
}

// deliver gives an event to a consumer, or to the dead letters when that
// consumer wants no more retries.
func (g *group) deliver(ctx context.Context, e entry) error {
	event, err := g.topic.event(e)
	if err != nil {
		g.log.ErrorContext(ctx, "an event cannot be read and is left out", "error", err)
		g.acknowledge(e.at)
		return nil
	}
	event.Attempt = e.attempt
	g.mu.Lock()
	if g.pending[e.at] != nil { // a replay, and its consumer has not answered yet
		g.mu.Unlock()
		return nil
	}
	c := g.pick()
	if c == nil { // it has left since
		g.retries = append(g.retries, retry{entry: e})
		g.sortRetries()
		g.mu.Unlock()
		return nil
	}
	if !c.autoAck && c.retryLimit >= 0 && e.attempt > c.retryLimit+1 {
		g.mu.Unlock()
		return g.bury(ctx, e, event)
	}
	defer g.mu.Unlock()
	g.size = max(1, (7*g.size+len(e.blob))/8)
	c.pending++
	c.waiting += len(e.blob)
	g.pending[e.at] = &delivery{consumer: c, attempt: e.attempt}
	c.out <- sending{e.at, event, len(e.blob)} // it has a place for each of the window
	return nil
}

// add lets a consumer take part, unless the others have too much already.
func (g *group) add(c *consumer) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.pending) >= maxPending {
		return errors.New(codes.ResourceExhausted, "group %q of topic %q has %d events that are sent and not acknowledged, which is the limit: acknowledge them first",
			clip(g.name), g.topic.name(), maxPending)
	}
	g.consumers = append(g.consumers, c)
	signal(g.wake)
	return nil
}

// remove gives what a consumer has to the others, and answers whether there are
// any.
func (g *group) remove(c *consumer) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.consumers = slices.DeleteFunc(g.consumers, func(x *consumer) bool { return x == c })
	for at, d := range g.pending {
		if d.consumer == c {
			g.giveBack(at, d)
		}
	}
	g.sortRetries()
	signal(g.wake)
	return len(g.consumers) > 0
}
