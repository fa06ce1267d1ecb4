package edge

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/quota"
	"github.com/micro/platform/internal/rate"
	"github.com/micro/platform/internal/tenants"
)

const (
	// slow is the part of a namespace's rate that a service has which is held
	// back, and slowest the calls a second of one without a limit.
	slow    = 10
	slowest = 10
	// bursts is how many seconds' calls may come at once where there is no limit.
	bursts = 10
	// stoppedFor is when those should try again whose service is stopped.
	stoppedFor = time.Minute
)

// whileSuspended are the components that members of a suspended namespace
// reach, to log in, to see why, and to pay.
var whileSuspended = map[string]bool{"auth": true, "namespaces": true, "usage": true, "billing": true}

// open says whether a call of a namespace is taken although it is suspended, or
// deleted. One that is erased shows that, and no more.
func (p party) open(t *tenants.Tenant) bool {
	switch {
	case t.Gone():
		return p.service == "namespaces"
	case t.Deleted != nil:
		return whileSuspended[p.service] || p.service == "audit"
	}
	return t.Suspension == nil || whileSuspended[p.service]
}

// within holds a call to what its namespace may take. Logging in and signing up
// are of no namespace. Operators are not held to anything, so that they can help.
func (e *Edge) within(ctx context.Context, c *Call, isCore bool) error {
	if isCore && c.Caller == nil || c.Caller != nil && c.Caller.Operator() {
		return nil
	}
	t, err := e.tenants.Of(ctx, c.Namespace)
	if err != nil {
		return err
	}
	if err := notTaken(t, c.party(), isCore); err != nil {
		return err
	}
	if x := t.Throttle(c.Service); x.Action == tenants.Slow && c.party().spends {
		if err := e.slowed(ctx, c, t, x); err != nil {
			return err
		}
	}
	return e.rates(ctx, c, t)
}

// party is who calls what.
type party struct {
	namespace, service string
	// member says that the caller may know what is between the namespace and the
	// operators.
	member bool
	// spends says that the call is held when nothing is left to spend.
	spends bool
}

func (c *Call) party() party {
	return party{c.Namespace, c.Service, c.Caller != nil && c.Caller.Namespace == c.Namespace, spends(c.Service, c.Endpoint)}
}

// notTaken says why a call of a namespace is not taken at all, if so. Those
// of other namespaces are told that much.
func notTaken(t *tenants.Tenant, p party, isCore bool) error {
	if s := t.Suspension; (s != nil || t.Deleted != nil) && !(isCore && p.open(t)) {
		switch {
		case !p.member:
			return errors.New(codes.PermissionDenied, "calls to namespace %q are not taken at the moment", p.namespace).From("go.micro.proxy")
		case t.Gone():
			return errors.New(codes.PermissionDenied, "namespace %q was deleted, and is erased", p.namespace).For(identity.Deleted).From("go.micro.proxy")
		case t.Deleted != nil:
			return errors.New(codes.PermissionDenied, "namespace %q was deleted, and will be erased at %s: until then an owner can take that back with \"micro namespace undelete\"; nothing of it is lost",
				p.namespace, t.Deleted.Erase.UTC().Format(time.RFC3339)).For(identity.Deleted).From("go.micro.proxy")
		}
		return errors.New(codes.PermissionDenied, "namespace %q is suspended since %s by the operators of this server: %s; nothing of it is lost",
			p.namespace, s.Since.UTC().Format(time.DateOnly), s.Reason).For(identity.Suspended).From("go.micro.proxy")
	}
	x := t.Throttle(p.service)
	if x.Action != tenants.Stop || !p.spends {
		return nil
	}
	text := fmt.Sprintf("service %q takes no calls at the moment", p.service)
	switch {
	case p.member && isCore:
		text = fmt.Sprintf("%q is stopped for namespace %q but for listing, deleting and export: %s", p.service, p.namespace, x.Reason)
	case p.member:
		text = fmt.Sprintf("service %q of namespace %q is stopped: %s", p.service, p.namespace, x.Reason)
	}
	return errors.New(codes.ResourceExhausted, "%s", text).Because(&quota.Reached{Wait: stoppedFor}).From("go.micro.proxy")
}

// slowed holds a call to the rate of a service that is held back.
func (e *Edge) slowed(ctx context.Context, c *Call, t *tenants.Tenant, x tenants.Throttle) error {
	n := int64(slowest)
	if !t.Limits.Rate.Unlimited() {
		n = max(int64(t.Limits.Rate)/slow, 1)
	}
	r := e.limiter.Take(ctx, rate.Limit{Key: rate.Key{Namespace: c.Namespace, Kind: "slowed", ID: x.Service}, Rate: n, Burst: n})
	if r == nil {
		return nil
	}
	text := fmt.Sprintf("service %q is held back to %d calls a second", c.Service, n)
	if c.party().member {
		text += ": " + x.Reason
	}
	return errors.New(codes.ResourceExhausted, "%s", text).Because(&quota.Reached{Policy: "slowed", Most: n, Window: time.Second, Wait: r.Wait}).From("go.micro.proxy")
}

// rates holds a call to the rates of its namespace, its account and its API
// token. Callers without an account have half the namespace's rate together, so
// that they cannot shut its members out.
func (e *Edge) rates(ctx context.Context, c *Call, t *tenants.Tenant) error {
	var few [3]rate.Limit
	all := few[:0]
	l := t.Limits
	add := func(kind, id string, r, burst plans.Limit) error {
		switch {
		case r.Unlimited():
			return nil
		case r == 0:
			return c.tooMany(t, &rate.Refusal{Limit: rate.Limit{Key: rate.Key{Kind: kind}}, Wait: stoppedFor})
		case burst.Unlimited():
			burst = r * bursts
		}
		all = append(all, rate.Limit{Key: rate.Key{Namespace: c.Namespace, Kind: kind, ID: id}, Rate: int64(r), Burst: int64(max(burst, r))})
		return nil
	}
	if err := add("rate", "", l.Rate, l.Burst); err != nil {
		return err
	}
	if c.Caller == nil {
		if !l.Rate.Unlimited() && l.Rate > 1 {
			add("anonymous_rate", "", l.Rate/2, l.Burst/2) //nolint:errcheck // the rate is not zero
		}
	} else {
		if err := add("account_rate", c.Caller.ID, l.AccountRate, l.AccountRate); err != nil {
			return err
		}
		if c.Caller.Limited() {
			if err := add("token_rate", c.Caller.Session, l.TokenRate, l.TokenRate); err != nil {
				return err
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	if r := e.limiter.Take(ctx, all...); r != nil {
		return c.tooMany(t, r)
	}
	return nil
}

// tooMany names the limit that was met, and how to raise it.
func (c *Call) tooMany(t *tenants.Tenant, r *rate.Refusal) error {
	kind := r.Limit.Key.Kind
	who := map[string]string{
		"rate": fmt.Sprintf("namespace %q", c.Namespace), "anonymous_rate": fmt.Sprintf("callers without an account in namespace %q", c.Namespace),
		"token_rate": "an API token",
	}[kind]
	if kind == "account_rate" {
		who = fmt.Sprintf("account %q", c.Caller.ID)
	}
	text := fmt.Sprintf("%s may make %d calls a second: try again in a moment", who, r.Limit.Rate)
	if c.party().member {
		text = fmt.Sprintf("%s may make %d calls a second, which is the limit %q of plan %s: try again in a moment, or raise it with a larger plan (\"micro plan\" lists them)",
			who, r.Limit.Rate, kind, t.Plan)
	}
	return errors.New(codes.ResourceExhausted, "%s", text).Because(&quota.Reached{Policy: kind, Most: r.Limit.Rate, Window: time.Second, Wait: r.Wait}).From("go.micro.proxy")
}

// MayLeave says why nothing of the caller's namespace may go out to the internet
// at the moment, if so: its token is revoked, its plan has no egress, it takes no
// calls, or auth has been away for too long.
func (e *Edge) MayLeave(ctx context.Context, caller identity.Caller) error {
	if err := e.trust.check(); err != nil {
		return err
	}
	t, err := e.tenants.Of(ctx, caller.Namespace)
	if err != nil {
		return err
	}
	switch {
	case e.admitted.refuses(caller):
		return errors.New(codes.Unauthenticated, "%s", revokedToken.text)
	case t.Limits.Egress == 0:
		return errors.New(codes.PermissionDenied, "services of namespace %q do not reach the internet on plan %s: its limit \"egress\" is 0", caller.Namespace, t.Plan)
	}
	return notTaken(t, party{namespace: caller.Namespace, member: true, spends: true}, false)
}
