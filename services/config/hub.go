package config

import (
	"context"
	"log/slog"
	"sync"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/pg"
)

// hub hears of all changes over one connection to Postgres and tells the
// watchers of this process, once each however many changes there were. When
// changes may have been missed it tells all of them to look.
type hub struct {
	db    db
	log   *slog.Logger
	limit int // of watchers of a namespace

	mu       sync.Mutex
	watchers map[string]map[chan struct{}]bool // by namespace
}

func newHub(d db, log *slog.Logger, limit int) *hub {
	return &hub{db: d, log: log, limit: limit, watchers: map[string]map[chan struct{}]bool{}}
}

// run listens until ctx ends.
func (h *hub) run(ctx context.Context) error {
	return pg.Listener{Pool: h.db.pool, Channel: channel, Log: h.log, Began: h.tellAll, Heard: h.tell}.Run(ctx)
}

// add answers a channel that gets something when the document of a namespace
// may have changed.
func (h *hub) add(namespace string) (chan struct{}, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	of := h.watchers[namespace]
	if len(of) >= h.limit {
		return nil, errors.New(codes.ResourceExhausted, "namespace %q has %d watchers of its config, which is the limit", namespace, h.limit)
	}
	if of == nil {
		of = map[chan struct{}]bool{}
		h.watchers[namespace] = of
	}
	changed := make(chan struct{}, 1)
	of[changed] = true
	return changed, nil
}

func (h *hub) remove(namespace string, changed chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.watchers[namespace], changed)
	if len(h.watchers[namespace]) == 0 {
		delete(h.watchers, namespace)
	}
}

func (h *hub) tell(_ context.Context, namespace string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers[namespace] {
		signal(w)
	}
	return nil
}

func (h *hub) tellAll(context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, of := range h.watchers {
		for w := range of {
			signal(w)
		}
	}
	return nil
}

// signal wakes whoever waits, once.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
