package edge

import (
	"context"
	"sync"
	"time"

	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/reserved"
	"github.com/micro/platform/internal/rules"
	"github.com/micro/platform/internal/watch"
	authpb "github.com/micro/platform/proto/auth"
)

// snapshot is what auth has pushed.
type snapshot struct {
	rules   map[string]*rules.Set // by namespace
	revoked *identity.Revocations
}

func newSnapshot() *snapshot {
	return &snapshot{rules: map[string]*rules.Set{}, revoked: identity.NewRevocations()}
}

func (s *snapshot) apply(c *authpb.Change) {
	if r := c.GetRules(); r != nil {
		s.rules[r.GetNamespace()] = rules.New(r.GetNamespace(), r.GetRules())
	}
	if r := c.GetRevocation(); r != nil {
		s.revoked.Add(r)
	}
}

// admitted is the state that decides whom to let in. It outlives auth's
// absence: what is known stays in force until there is a newer snapshot.
type admitted struct {
	first *watch.First

	mu      sync.RWMutex
	now     *snapshot
	pruneAt int // revocations, at which the expired ones are looked for
}

func newAdmitted() *admitted {
	return &admitted{first: watch.NewFirst("auth"), now: newSnapshot(), pruneAt: minPrune}
}

func (a *admitted) replace(s *snapshot) {
	a.mu.Lock()
	a.now = s
	a.mu.Unlock()
	a.first.Came()
}

func (a *admitted) apply(c *authpb.Change) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now.apply(c)
	if a.now.revoked.Len() > a.pruneAt {
		a.now.revoked.Prune(time.Now())
		a.pruneAt = max(minPrune, 2*a.now.revoked.Len())
	}
}

// minPrune is the least number of revocations worth looking through.
const minPrune = 1000

// revoked says whether a good token has been called back.
func (a *admitted) revoked(ctx context.Context, c identity.Caller) (bool, error) {
	if err := a.first.Wait(ctx); err != nil {
		return false, err
	}
	return a.refuses(c), nil
}

// refuses is revoked, for what was let in.
func (a *admitted) refuses(c identity.Caller) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.now.revoked.Revoked(c)
}

// set answers the rules of a namespace.
func (a *admitted) set(ctx context.Context, namespace string) (*rules.Set, error) {
	if err := a.first.Wait(ctx); err != nil {
		return nil, err
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	if s := a.now.rules[namespace]; s != nil {
		return s, nil
	}
	return rules.New(namespace, nil), nil
}

// mayCall says why the caller may not call an endpoint of the service, if so.
// Components are asked about no further than the grants of an API token and the
// role of a member: they guard themselves.
func (e *Edge) mayCall(ctx context.Context, c *Call, endpoint string) error {
	one := Call{Service: c.Service, Endpoint: endpoint, Namespace: c.Namespace, Caller: c.Caller, badToken: c.badToken}
	if err := one.granted(); err != nil {
		return err
	}
	if err := one.permitted(ctx); err != nil || reserved.Service(c.Service) {
		return err
	}
	return e.authorise(ctx, &one)
}

// elsewhere says whether an operator calls into another namespace.
func (c *Call) elsewhere() bool {
	return c.Caller != nil && c.Caller.Operator() && c.Namespace != c.Caller.Namespace
}

// note logs what operators do in other namespaces.
func (e *Edge) note(ctx context.Context, c *Call) {
	if c.elsewhere() && !reserved.Service(c.Service) {
		e.log.InfoContext(ctx, "operator calls into another namespace", "account", c.Caller.ID,
			"namespace", c.Namespace, "method", c.method, "request_id", c.ID)
	}
}

// authorise asks the rules of the namespace.
func (e *Edge) authorise(ctx context.Context, c *Call) error {
	if c.elsewhere() {
		return nil
	}
	set, err := e.admitted.set(ctx, c.Namespace)
	if err != nil {
		return err
	}
	d := set.Evaluate(c.Caller, rules.Resource{Type: "service", Name: c.Service, Endpoint: c.Endpoint})
	switch {
	case d.Allowed:
		return nil
	case c.Caller != nil:
		return c.forbidden(d)
	default:
		return c.unauthorized()
	}
}

// watchAuth follows auth's changes until the stream breaks.
func (e *Edge) watchAuth(ctx context.Context) error {
	defer e.trust.lose()
	w, err := e.auth.Watch(identity.AsComponent(ctx), &authpb.WatchRequest{})
	if err != nil {
		return err
	}
	next := newSnapshot()
	for {
		c, err := w.Recv()
		if err != nil {
			return err
		}
		if c.GetKeys() {
			e.forgetKeys()
		}
		if next == nil {
			e.admitted.apply(c)
			if r := c.GetRevocation(); r != nil {
				e.changed(r.GetNamespace())
			}
			if r := c.GetRules(); r != nil {
				e.changed(r.GetNamespace())
			}
			continue
		}
		next.apply(c)
		if c.GetReady() {
			e.admitted.replace(next)
			if err := e.refreshKeys(ctx); err != nil {
				return err
			}
			away := e.trust.found()
			next = nil
			e.changed("")
			e.missed(away)
		}
	}
}

// forgetKeys makes every token be verified anew, with the keys that auth has.
func (e *Edge) forgetKeys() {
	e.keys.Forget()
	e.verifier.Store(identity.NewVerifier(e.keys, time.Now))
}

// refreshKeys is forgetKeys if a key has gone while nobody listened. Until that
// is known the old ones hold: no good token waits for it, or is refused.
func (e *Edge) refreshKeys(ctx context.Context) error {
	gone, err := e.keys.Refresh(ctx)
	if gone {
		e.verifier.Store(identity.NewVerifier(e.keys, time.Now))
	}
	return err
}
