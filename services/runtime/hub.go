package runtime

import (
	"context"
	"log/slog"
	"sync"

	"github.com/micro/platform/internal/pg"
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
	return pg.Listener{Pool: s.db.pool, Channel: channel, Log: log,
		Began: func(context.Context) error { s.hub.wakeAll(); return nil },
		Heard: func(_ context.Context, topic string) error { s.hub.wake(topic); return nil },
	}.Run(ctx)
}
