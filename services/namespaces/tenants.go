package namespaces

import (
	"context"
	"log/slog"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pg"
	"github.com/micro/platform/internal/watch"
	namespacespb "github.com/micro/platform/proto/namespaces"
)

// tenants keeps in memory what is to be known of namespaces that differ from
// the default, follows the database's notifications, and hands both to watchers.
type tenants struct {
	db        db
	catalogue *plans.Catalogue
	standard  *plans.Plan // the server's default
	log       *slog.Logger

	feed  *watch.Feed[*namespacespb.Change] // guards what follows
	known map[string]*namespacespb.Tenant
}

func newTenants(d db, c *plans.Catalogue, standard *plans.Plan, log *slog.Logger) *tenants {
	return &tenants{db: d, catalogue: c, standard: standard, log: log, feed: watch.NewFeed[*namespacespb.Change]()}
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

// load reads the whole state.
func (t *tenants) load(ctx context.Context) error {
	rows, err := t.db.differing(ctx)
	if err != nil {
		return err
	}
	known := map[string]*namespacespb.Tenant{identity.Platform: platformTenant()}
	for _, r := range rows {
		known[r.Namespace] = t.message(r)
	}
	t.feed.Replace(func() { t.known = known })
	return nil
}

// refresh reads a namespace again and tells the watchers.
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
	t.feed.Change(&namespacespb.Change{Tenant: m}, func() {
		if row.differs() {
			t.known[namespace] = m
		} else {
			delete(t.known, namespace)
		}
	})
	return nil
}

// snapshot is the state as a watcher is told it.
func (t *tenants) snapshot() []*namespacespb.Change {
	var out []*namespacespb.Change
	for _, p := range t.plans() {
		out = append(out, &namespacespb.Change{Plan: p})
	}
	for _, m := range t.known {
		out = append(out, &namespacespb.Change{Tenant: m})
	}
	return append(out, &namespacespb.Change{Ready: true})
}
