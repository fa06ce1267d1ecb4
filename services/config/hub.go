package config

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/pg"
)

const (
	// relisten is the wait before another try after the connection was lost.
	relisten = time.Second
	// idlePing is how often a connection that says nothing is asked whether it
	// is still there, and answerTimeout how soon it has to answer.
	idlePing      = 5 * time.Second
	answerTimeout = 2 * time.Second
)

// hub hears of all changes over one connection to Postgres and tells the
// watchers of this process, once each however many changes there were. When
// changes may have been missed it tells all of them to look.
type hub struct {
	db      db
	log     *slog.Logger
	perName int
	idle    time.Duration // idlePing

	mu       sync.Mutex
	watchers map[string]map[chan struct{}]bool // by namespace
}

func newHub(d db, log *slog.Logger, perNamespace int) *hub {
	return &hub{db: d, log: log, perName: perNamespace, idle: idlePing, watchers: map[string]map[chan struct{}]bool{}}
}

// run listens until ctx ends.
func (h *hub) run(ctx context.Context) error {
	for {
		err := h.listen(ctx)
		if ctx.Err() != nil {
			return nil
		}
		h.log.WarnContext(ctx, "changes are not heard of, trying again", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(relisten):
		}
	}
}

func (h *hub) listen(ctx context.Context) error {
	conn, err := h.db.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	// A connection that listens must not serve anything else.
	own := conn.Hijack()
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
		defer cancel()
		own.Close(ctx) //nolint:errcheck // it is given up
	}()
	if _, err := own.Exec(ctx, "LISTEN "+channel); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	h.tellAll()
	for {
		namespace, err := pg.Next(ctx, own, h.idle, answerTimeout)
		if err != nil {
			return err
		}
		h.tell(namespace)
	}
}

// add answers a channel that gets something when the document of a namespace
// may have changed.
func (h *hub) add(namespace string) (chan struct{}, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	of := h.watchers[namespace]
	if len(of) >= h.perName {
		return nil, errors.New(codes.ResourceExhausted, "namespace %q has %d watchers of its config, which is the limit", namespace, h.perName)
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

func (h *hub) tell(namespace string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers[namespace] {
		signal(w)
	}
}

func (h *hub) tellAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, of := range h.watchers {
		for w := range of {
			signal(w)
		}
	}
}

// signal wakes whoever waits, once.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
