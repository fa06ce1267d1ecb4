package runtime

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// channel carries the keys of services that changed, sent by the triggers of
// the tables.
const channel = "runtime"

// everything is the topic of whoever wants to hear of every change.
const everything = ""

// hub tells those in this process who wait for a service that it changed. It
// carries no state: whoever is woken reads the database.
type hub struct {
	mu   sync.Mutex
	subs map[string]map[chan struct{}]struct{} // by key.String()
}

func newHub() *hub { return &hub{subs: map[string]map[chan struct{}]struct{}{}} }

// subscribe answers a channel that gets a value after each change of topic;
// several changes may be one value. The caller must call leave.
func (h *hub) subscribe(topic string) (changed <-chan struct{}, leave func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := make(chan struct{}, 1)
	if h.subs[topic] == nil {
		h.subs[topic] = map[chan struct{}]struct{}{}
	}
	h.subs[topic][c] = struct{}{}
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.subs[topic], c)
		if len(h.subs[topic]) == 0 {
			delete(h.subs, topic)
		}
	}
}

func (h *hub) wake(topic string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.signal(topic)
	h.signal(everything)
}

// wakeAll is for when changes may have been missed.
func (h *hub) wakeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for topic := range h.subs {
		h.signal(topic)
	}
}

// signal is called with mu held.
func (h *hub) signal(topic string) {
	for c := range h.subs[topic] {
		select {
		case c <- struct{}{}:
		default: // it has not yet looked since the last one
		}
	}
}

// listen passes the database's notifications on to the hub, for as long as ctx
// lives.
func (s *Service) listen(ctx context.Context, log *slog.Logger) error {
	for ctx.Err() == nil {
		err := s.db.listen(ctx, s.hub)
		if ctx.Err() != nil {
			return nil
		}
		log.Warn("notifications interrupted", "cause", err)
		pause(ctx, time.Second)
	}
	return nil
}

func (d db) listen(ctx context.Context, h *hub) error {
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect to listen: %w", err)
	}
	// The connection must not go back into the pool while it listens.
	defer func() { conn.Conn().Close(context.WithoutCancel(ctx)); conn.Release() }() //nolint:errcheck // closed either way
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	h.wakeAll()
	for {
		n, err := conn.Conn().WaitForNotification(ctx)
		if err != nil {
			return fmt.Errorf("wait for notification: %w", err)
		}
		h.wake(n.Payload)
	}
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
