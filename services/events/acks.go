package events

import (
	"context"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/pause"
)

func (g *group) acknowledge(at position) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.done = append(g.done, at)
	signal(g.acks)
}

// sent notes that a consumer was sent events.
func (g *group) sent(c *consumer, all []sending) {
	g.mu.Lock()
	defer g.mu.Unlock()
	full, now := c.free() <= c.window/2, g.now()
	for _, s := range all {
		c.waiting -= s.bytes
		d := g.pending[s.at]
		switch {
		case d == nil || d.consumer != c: // answered already, or taken away
		case c.autoAck:
			g.finish(s.at, d)
		default:
			d.sent, d.due = true, now.Add(c.ackWait)
			g.wait(d.due)
		}
	}
	g.finished(full)
}

// wait has the loop look at a time at the latest.
func (g *group) wait(due time.Time) {
	if g.due.IsZero() || due.Before(g.due) {
		g.due = due
		signal(g.wake) // its timer is set to later
	}
}

// finish makes a delivery done.
func (g *group) finish(at position, d *delivery) {
	delete(g.pending, at)
	d.consumer.pending--
	g.done = append(g.done, at)
}

// finished has what is done acknowledged, and wakes the loop when there is room
// again that was not there.
func (g *group) finished(full bool) {
	if len(g.done) > 0 {
		signal(g.acks)
	}
	if full {
		signal(g.wake)
	}
}

// ack is a consumer's answer. Answers to what it was not sent mean nothing.
func (g *group) ack(c *consumer, all []position) {
	g.mu.Lock()
	defer g.mu.Unlock()
	full := c.free() <= c.window/2
	for _, at := range all {
		if d := g.pending[at]; d != nil && d.consumer == c { // an answer may be here before sent is
			g.finish(at, d)
		}
	}
	g.finished(full)
}

// ackLoop acknowledges to Redis, many events at once. When Redis is away it
// tries again until it is back.
func (g *group) ackLoop(ctx context.Context) {
	backoff := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.acks:
		}
		wait := ackPause
		if backoff = min(max(2*backoff, minBackoff), maxBackoff); g.acknowledgeAll(ctx) == nil {
			backoff = 0
		} else {
			wait = backoff
			signal(g.acks)
		}
		if pause.For(ctx, wait) != nil {
			return
		}
	}
}

func (g *group) acknowledgeAll(ctx context.Context) error {
	g.mu.Lock()
	at := g.done
	g.mu.Unlock()
	if len(at) == 0 {
		return nil
	}
	// They stay known meanwhile, so that nobody sends them again.
	if err := g.src.done(ctx, at); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.done = slices.Clone(g.done[len(at):])
	return nil
}

// leave acknowledges the last events and gives the others up.
func (g *group) leave(ctx context.Context) {
	err := g.acknowledgeAll(ctx)
	g.mu.Lock()
	var sent, unsent []position
	for at, d := range g.pending {
		if d.sent {
			sent = append(sent, at)
		} else {
			unsent = append(unsent, at)
		}
	}
	for _, r := range g.retries {
		if r.sent {
			sent = append(sent, r.at)
		} else {
			unsent = append(unsent, r.at)
		}
	}
	gone := errors.Code(g.err) == codes.NotFound
	g.mu.Unlock()
	if err == nil && !gone {
		err = g.src.leave(ctx, sent, unsent)
	}
	if err != nil && !gone {
		// Whoever comes next finds them with this process.
		g.log.WarnContext(ctx, "events were not left in order", "topic", g.topic.name(), "namespace", g.topic.namespace, "error", err)
	}
}
