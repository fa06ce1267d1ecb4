package tenants

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/watch"
	namespacespb "github.com/micro/platform/proto/namespaces"
)

// Tenant is what a namespace may take. It is shared and never changes.
type Tenant struct {
	// Plan is the id of the plan.
	Plan string
	// Limits are the plan's with the namespace's own in their place.
	Limits *plans.Limits
	// Suspension is nil unless the namespace is suspended.
	Suspension *Suspension
	// Deleted is nil unless somebody has deleted the namespace.
	Deleted *Deleted
	// Since is when the namespace was made, if another one had the name before:
	// what is older is not of this one.
	Since time.Time

	throttles []Throttle
}

// Deleted says that a namespace is stopped until it is erased, or is erased.
type Deleted struct {
	// Erase is when that begins. Until then it can be undeleted.
	Erase time.Time
	begun bool
}

// Gone says that the namespace is being erased, or has been: nothing more is
// kept of it.
func (t *Tenant) Gone() bool { return t.Deleted != nil && t.Deleted.begun }

// Stopped says why nothing of a namespace runs, for its members; "" if it may.
func (t *Tenant) Stopped() string {
	switch {
	case t.Gone():
		return "the namespace is erased"
	case t.Deleted != nil:
		return "the namespace is deleted, and will be erased at " + t.Deleted.Erase.UTC().Format(time.RFC3339)
	case t.Suspension != nil:
		return "the namespace is suspended: " + t.Suspension.Reason
	}
	return ""
}

// Untrusted says that a namespace may be anybody's: only the plan of a server of
// one's own is that of its operator alone.
func (t *Tenant) Untrusted() bool { return t.Plan != plans.Local }

// Suspension says that a namespace is stopped.
type Suspension struct {
	// Reason is for members of the namespace.
	Reason string
	Since  time.Time
}

// Action is what a throttle does. A greater one is stronger.
type Action int

// The actions.
const (
	None Action = iota
	Slow        // a tenth of the plan's rate of calls
	Stop        // no calls, no containers
)

// Throttle is what holds a service back.
type Throttle struct {
	// Service is empty for every service of the namespace.
	Service string
	Action  Action
	// Reason is for members of the namespace.
	Reason string
	Since  time.Time
}

// Throttle answers the strongest throttle that a service is under. Its action is
// None if there is none.
func (t *Tenant) Throttle(service string) Throttle {
	var strongest Throttle
	for _, x := range t.throttles {
		if (x.Service == "" || x.Service == service) && x.Action > strongest.Action {
			strongest = x
		}
	}
	return strongest
}

// Tenants is the state of all namespaces.
type Tenants struct {
	namespaces namespacespb.ComponentsClient
	log        *slog.Logger
	changed    func(namespace string)
	first      *watch.First

	mu  sync.RWMutex
	now *state
}

// state is what was pushed.
type state struct {
	plans    map[string]*plans.Limits
	standard *Tenant // a namespace of which nothing else is known
	known    map[string]*Tenant
}

func newState() *state {
	return &state{plans: map[string]*plans.Limits{}, standard: &Tenant{Limits: &plans.Limits{}}, known: map[string]*Tenant{}}
}

// Open follows component namespaces until h stops. changed is told of every
// namespace after it has changed, and of "" after a new snapshot, when any may
// have; it may be nil, and must not take long.
func Open(h *app.Host, changed func(namespace string)) (*Tenants, error) {
	conn, err := h.Conn("namespaces")
	if err != nil {
		return nil, err
	}
	t := New(namespacespb.NewComponentsClient(conn), h.Log, changed)
	h.Go("watch tenants", t.Run)
	return t, nil
}

// New makes Tenants that know nothing before Run.
func New(namespaces namespacespb.ComponentsClient, log *slog.Logger, changed func(namespace string)) *Tenants {
	if changed == nil {
		changed = func(string) {}
	}
	return &Tenants{namespaces: namespaces, log: log, changed: changed, first: watch.NewFirst("namespaces"), now: newState()}
}

// Fixed answers the same limits for every namespace, for ever: for tests.
func Fixed(l plans.Limits) *Tenants {
	t := New(nil, nil, nil)
	t.now.standard = &Tenant{Plan: "fixed", Limits: &l}
	t.first.Came()
	return t
}

// Of answers what a namespace may take. Which namespaces there are it does not
// know: one that nobody has heard of is on the default plan.
func (t *Tenants) Of(ctx context.Context, namespace string) (*Tenant, error) {
	if err := t.first.Wait(ctx); err != nil {
		return nil, err
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	if x := t.now.known[namespace]; x != nil {
		return x, nil
	}
	return t.now.standard, nil
}

// Run follows component namespaces until ctx ends.
func (t *Tenants) Run(ctx context.Context) error {
	watch.Follow(ctx, t.follow, func(err error) {
		t.log.WarnContext(ctx, "limits are not followed, going on with what is known", "error", err)
	})
	return nil
}

// follow takes in a snapshot and what comes after it, until the stream breaks.
func (t *Tenants) follow(ctx context.Context) error {
	w, err := t.namespaces.Watch(identity.AsComponent(ctx), &namespacespb.WatchRequest{})
	if err != nil {
		return err
	}
	next := newState()
	for {
		c, err := w.Recv()
		if err != nil {
			return err
		}
		switch {
		case next == nil && c.GetTenant() != nil:
			t.mu.Lock()
			t.now.put(c.GetTenant())
			t.mu.Unlock()
			t.changed(c.GetTenant().GetNamespace())
		case next == nil:
		case c.GetPlan() != nil:
			next.addPlan(c.GetPlan())
		case c.GetTenant() != nil:
			next.put(c.GetTenant())
		case c.GetReady():
			t.replace(next)
			next = nil
			t.changed("")
		}
	}
}

func (t *Tenants) replace(s *state) {
	t.mu.Lock()
	t.now = s
	t.mu.Unlock()
	t.first.Came()
}

func (s *state) addPlan(p *namespacespb.Plan) {
	l := plans.FromMap(p.GetLimits())
	s.plans[p.GetId()] = &l
	if p.GetDefault() {
		s.standard = &Tenant{Plan: p.GetId(), Limits: &l}
	}
}

// put takes in all about a namespace, or forgets it if that is the default.
func (s *state) put(m *namespacespb.Tenant) {
	limits := s.plans[m.GetPlan()]
	if limits == nil {
		limits = s.standard.Limits
	}
	if len(m.GetLimits()) > 0 {
		own := limits.With(m.GetLimits())
		limits = &own
	}
	x := &Tenant{Plan: m.GetPlan(), Limits: limits}
	if limits == s.standard.Limits && m.GetSuspension() == nil && len(m.GetThrottles()) == 0 && m.GetDeleted() == nil && m.GetSince() == 0 {
		delete(s.known, m.GetNamespace())
		return
	}
	if r := m.GetSuspension(); r != nil {
		x.Suspension = &Suspension{Reason: r.GetReason(), Since: time.Unix(r.GetSince(), 0)}
	}
	if r := m.GetDeleted(); r != nil {
		x.Deleted = &Deleted{Erase: time.Unix(r.GetErase(), 0), begun: r.GetState() != namespacespb.State_DELETING}
	}
	if at := m.GetSince(); at != 0 {
		x.Since = time.Unix(at, 0)
	}
	for _, r := range m.GetThrottles() {
		x.throttles = append(x.throttles, Throttle{Service: r.GetService(), Action: Action(r.GetAction()), Reason: r.GetReason(), Since: time.Unix(r.GetSince(), 0)})
	}
	s.known[m.GetNamespace()] = x
}
