package events

import (
	"context"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

func (g *group) acknowledge(at position) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.done = append(g.done, at)
	signal(g.acks)
}

// sent notes that a consumer was sent an event.
func (g *group) sent(c *consumer, s sending) {
	g.mu.Lock()
	defer g.mu.Unlock()
	full := c.free() <= c.window/2
	c.waiting -= s.bytes
	d := g.pending[s.at]
	if d == nil || d.consumer != c {
		return
	}
	d.sent = true
	if !c.autoAck {
		d.due = g.now().Add(c.ackWait)
		if len(g.pending) == 1 || c.ackWait < g.scan {
			signal(g.wake) // the loop's timer may be set to later
		}
		return
	}
	g.finish(s.at, d, full)
}

// finish makes a delivery done, and wakes the loop if that makes room.
func (g *group) finish(at position, d *delivery, full bool) {
	delete(g.pending, at)
	d.consumer.pending--
	g.done = append(g.done, at)
	signal(g.acks)
	if full {
		signal(g.wake)
	}
}

// ack is a consumer's answer. Answers to what it was not sent mean nothing, and
// so does "no": the event is sent again when its time is up.
func (g *group) ack(c *consumer, at position, success bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	d := g.pending[at]
	if d == nil || d.consumer != c || !success { // an answer may be here before sent is
		return
	}
	g.finish(at, d, c.free() <= c.window/2)
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
		if g.acknowledgeAll(ctx) == nil {
			backoff = 0
			continue
		}
		backoff = min(max(2*backoff, minBackoff), maxBackoff)
		signal(g.acks)
		select {
		case <-ctx.Done():
			return
		case <-time.After(backoff):
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
