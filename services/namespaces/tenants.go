package namespaces

import (
	"context"
	"log/slog"
	"sync"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pg"
	namespacespb "github.com/micro/platform/proto/namespaces"
)

// tenants keeps in memory what is to be known of namespaces that differ from
// the default, follows the database's notifications, and hands both to watchers.
type tenants struct {
	db        db
	catalogue *plans.Catalogue
	standard  *plans.Plan // the server's default
	log       *slog.Logger
	loaded    chan struct{} // closed when the state has been read once

	mu       sync.Mutex
	known    map[string]*namespacespb.Tenant
	watchers map[*watcher]struct{}
}

// watcher is one stream. It is cut when its queue is full.
type watcher struct {
	queue chan *namespacespb.Tenant
	cut   chan struct{}
}

const (
	// watchQueue is how many changes a watcher may be behind.
	watchQueue = 1024
)

func newTenants(d db, c *plans.Catalogue, standard *plans.Plan, log *slog.Logger) *tenants {
	return &tenants{db: d, catalogue: c, standard: standard, log: log, loaded: make(chan struct{}),
		known: map[string]*namespacespb.Tenant{}, watchers: map[*watcher]struct{}{}}
}

// platformTenant is the operators' own namespace, which nobody signed up for.
func platformTenant() *namespacespb.Tenant {
	return &namespacespb.Tenant{Namespace: identity.Platform, Plan: plans.Local}
}

// plans answers the catalogue as messages.
func (t *tenants) plans() []*namespacespb.Plan {
	var out []*namespacespb.Plan
	for _, p := range t.catalogue.Plans {
		out = append(out, &namespacespb.Plan{Id: p.ID, Title: p.Title, Limits: p.Limits.Map(), Default: p == t.standard,
			Price: &namespacespb.Price{Currency: p.Price.Currency, Month: p.Price.Month, Units: p.Price.Units()}})
	}
	return out
}

// planOf answers the plan of a row. One that has left the catalogue is the
// default: its namespaces go on, and Limits shows it.
func (t *tenants) planOf(r tenantRow) *plans.Plan {
	if r.Plan != nil {
		if p := t.catalogue.Find(*r.Plan); p != nil {
			return p
		}
		t.log.Warn("a namespace has a plan that the catalogue lacks, the default holds for it", "namespace", r.Namespace, "plan", *r.Plan)
	}
	return t.standard
}

func (t *tenants) message(r tenantRow) *namespacespb.Tenant {
	m := &namespacespb.Tenant{Namespace: r.Namespace, Plan: t.planOf(r).ID, Limits: r.Limits}
	if r.SuspendedAt != nil {
		m.Suspension = &namespacespb.Suspension{Reason: r.SuspendedFor, Since: r.SuspendedAt.Unix()}
	}
	if r.State != "" {
		m.Deleted = &namespacespb.Deleted{State: states[r.State], Erase: r.EraseAt.Unix()}
	}
	m.Since = unix(r.Since)
	for _, x := range r.Throttles {
		m.Throttles = append(m.Throttles, &namespacespb.Throttle{Service: x.Service, Action: namespacespb.Action(x.Action), Reason: x.Reason, Since: x.Since.Unix()})
	}
	return m
}

// run follows the database until ctx ends, through losses of the connection.
func (t *tenants) run(ctx context.Context) error {
	return pg.Listener{Pool: t.db.pool, Channel: channel, Log: t.log, Began: t.load, Heard: t.refresh}.Run(ctx)
}

// load reads the whole state. Watchers of the state before start anew: they may
// have missed something.
func (t *tenants) load(ctx context.Context) error {
	rows, err := t.db.differing(ctx)
	if err != nil {
		return err
	}
	known := map[string]*namespacespb.Tenant{identity.Platform: platformTenant()}
	for _, r := range rows {
		known[r.Namespace] = t.message(r)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known = known
	for w := range t.watchers {
		t.drop(w)
	}
	select {
	case <-t.loaded:
	default:
		close(t.loaded)
	}
	return nil
}

// refresh reads a namespace again and tells the watchers. State and queues
// change in one step, so that a new watcher has a change either in its snapshot
// or in its queue.
func (t *tenants) refresh(ctx context.Context, namespace string) error {
	rows, err := t.db.tenants(ctx, namespace)
	if err != nil {
		return err
	}
	row := tenantRow{Namespace: namespace}
	if len(rows) > 0 {
		row = rows[0]
	}
	m := t.message(row)
	t.mu.Lock()
	defer t.mu.Unlock()
	if row.differs() {
		t.known[namespace] = m
	} else {
		delete(t.known, namespace)
	}
	for w := range t.watchers {
		select {
		case w.queue <- m:
		default:
			t.drop(w)
		}
	}
	return nil
}

// watch answers the state and a watcher that has every change after it.
func (t *tenants) watch(ctx context.Context) ([]*namespacespb.Change, *watcher, error) {
	select {
	case <-t.loaded:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var snapshot []*namespacespb.Change
	for _, p := range t.plans() {
		snapshot = append(snapshot, &namespacespb.Change{Plan: p})
	}
	for _, m := range t.known {
		snapshot = append(snapshot, &namespacespb.Change{Tenant: m})
	}
	w := &watcher{queue: make(chan *namespacespb.Tenant, watchQueue), cut: make(chan struct{})}
	t.watchers[w] = struct{}{}
	return snapshot, w, nil
}

// leave ends a watcher that has not been cut.
func (t *tenants) leave(w *watcher) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.watchers[w]; ok {
		t.drop(w)
	}
}

// drop cuts a watcher off. The caller holds mu.
func (t *tenants) drop(w *watcher) {
	delete(t.watchers, w)
	close(w.cut)
}
