package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/pause"
	"github.com/micro/platform/internal/pg"
	registrypb "github.com/micro/platform/proto/registry"
)

const (
	// maxWatchers bounds the watchers of one namespace at one process.
	maxWatchers = 100
	// maxPending bounds the versions that a watcher has not yet taken. It is
	// more than all namespaces change within a snapshot.
	maxPending = 50_000
	// lookBatch is how many changed versions are read at once.
	lookBatch = 200
	// relisten is the wait before another try after the connection was lost.
	relisten = time.Second
)

// hub hears of all changes over one connection to Postgres and tells the
// watchers of this process. When it cannot know what it has missed, it ends all
// of them, and they start anew.
type hub struct {
	db  db
	log *slog.Logger

	mu       sync.Mutex
	watchers map[*watcher]bool
	count    map[string]int // by namespace
	up       chan struct{}  // closed while listening
	changed  map[key]bool   // to be read again; true if it was created
	wake     chan struct{}
}

func newHub(d db, log *slog.Logger) *hub {
	return &hub{db: d, log: log, watchers: map[*watcher]bool{}, count: map[string]int{}, up: make(chan struct{}),
		changed: map[key]bool{}, wake: make(chan struct{}, 1)}
}

// run listens until ctx ends.
func (h *hub) run(ctx context.Context) error {
	for {
		err := h.listen(ctx)
		h.down()
		if ctx.Err() != nil {
			return nil
		}
		h.log.WarnContext(ctx, "changes are not heard of, trying again", "error", err)
		if pause.For(ctx, relisten) != nil {
			return nil
		}
	}
}

func (h *hub) listen(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return pg.Listener{Pool: h.db.pool, Channel: channel, Log: h.log, Began: h.began, Heard: h.note}.Once(ctx)
	})
	g.Go(func() error { return h.tellLoop(ctx) })
	return g.Wait()
}

// began takes watchers.
func (h *hub) began(context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.up)
	return nil
}

// down ends every watcher.
func (h *hub) down() {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.up:
		h.up = make(chan struct{})
	default:
	}
	clear(h.changed)
	for w := range h.watchers {
		w.end(errors.New(codes.Unavailable, "changes may have been missed, watch again"))
	}
}

// wait returns when changes are heard of.
func (h *hub) wait(ctx context.Context) error {
	h.mu.Lock()
	up := h.up
	h.mu.Unlock()
	select {
	case <-up:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *hub) add(namespace, service string) (*watcher, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.up:
	default:
		return nil, errors.New(codes.Unavailable, "changes cannot be watched now, try again")
	}
	if h.count[namespace] >= maxWatchers {
		return nil, errors.New(codes.ResourceExhausted, "namespace %q has %d watchers, which is the limit", namespace, maxWatchers)
	}
	w := &watcher{namespace: namespace, service: service, pending: map[key]*registrypb.Result{}, wake: make(chan struct{}, 1)}
	h.watchers[w] = true
	h.count[namespace]++
	return w, nil
}

func (h *hub) remove(w *watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.watchers, w)
	if h.count[w.namespace]--; h.count[w.namespace] == 0 {
		delete(h.count, w.namespace)
	}
}

// note remembers that a version has changed. Many changes of one are looked at
// once.
func (h *hub) note(_ context.Context, payload string) error {
	var c change
	if err := json.Unmarshal([]byte(payload), &c); err != nil {
		return fmt.Errorf("read change: %w", err)
	}
	h.mu.Lock()
	h.changed[c.key] = h.changed[c.key] || c.Created
	h.mu.Unlock()
	signal(h.wake)
	return nil
}

// take answers up to lookBatch versions that have changed.
func (h *hub) take() ([]key, map[key]bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var keys []key
	isNew := map[key]bool{}
	for k, c := range h.changed {
		keys, isNew[k] = append(keys, k), c
		delete(h.changed, k)
		if len(keys) == lookBatch {
			signal(h.wake)
			break
		}
	}
	return keys, isNew
}

// tellLoop is the only one that tells, so watchers never see an older state of
// a version after a newer one.
func (h *hub) tellLoop(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-h.wake:
		}
		keys, isNew := h.take()
		if len(keys) == 0 {
			continue
		}
		found, err := h.db.look(ctx, keys)
		if err != nil {
			return err
		}
		results, err := toResults(keys, isNew, found)
		if err != nil {
			return err
		}
		h.tell(results)
	}
}

func toResults(keys []key, isNew map[key]bool, found []entry) (map[key]*registrypb.Result, error) {
	results := make(map[key]*registrypb.Result, len(keys))
	for _, k := range keys {
		results[k] = &registrypb.Result{Action: deleted, Service: &registrypb.Service{
			Name: k.Service, Version: k.Version,
			Metadata: map[string]string{"domain": k.Namespace}, Options: &registrypb.Options{Domain: k.Namespace},
		}}
	}
	for _, e := range found {
		if len(e.Nodes) == 0 {
			continue
		}
		v, err := toService(e)
		if err != nil {
			return nil, err
		}
		action := updated
		if isNew[e.key] {
			action = created
		}
		results[e.key] = &registrypb.Result{Action: action, Service: v}
	}
	return results, nil
}

func (h *hub) tell(results map[key]*registrypb.Result) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		w.offer(results)
	}
}

// signal wakes whoever waits, once.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// watcher is one Watch: what it has not yet sent, the newest state of each
// version, in the order of the changes.
type watcher struct {
	namespace, service string
	wake               chan struct{}

	mu      sync.Mutex
	pending map[key]*registrypb.Result
	order   []key
	err     error
}

func (w *watcher) wants(k key) bool {
	return (w.namespace == everything || w.namespace == k.Namespace) && (w.service == "" || w.service == k.Service)
}

func (w *watcher) offer(results map[key]*registrypb.Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k, r := range results {
		if w.err != nil || !w.wants(k) {
			continue
		}
		old, waits := w.pending[k]
		if !waits {
			w.order = append(w.order, k)
		} else if old.GetAction() == created && r.GetAction() == updated {
			r = &registrypb.Result{Action: created, Service: r.GetService()}
		}
		w.pending[k] = r
		if len(w.pending) > maxPending {
			w.err = errors.New(codes.Unavailable, "too slow for the changes there are, watch again")
		}
	}
	signal(w.wake)
}

// end makes next fail, after nothing more.
func (w *watcher) end(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	signal(w.wake)
}

// next waits for results.
func (w *watcher) next(ctx context.Context) ([]*registrypb.Result, error) {
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-w.wake:
		}
		w.mu.Lock()
		err, results := w.err, make([]*registrypb.Result, 0, len(w.order))
		for _, k := range w.order {
			results = append(results, w.pending[k])
		}
		clear(w.pending)
		w.order = w.order[:0]
		w.mu.Unlock()
		if err != nil || len(results) > 0 {
			return results, err
		}
	}
}
