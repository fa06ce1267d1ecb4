package edge

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
)

// open is the calls under way, so that they end with the token that they came
// with, and with the right of their namespace to be called.
type open struct {
	mu    sync.Mutex
	calls map[string]map[*openCall]bool // by the namespace of the caller, or of the callee if there is none
}

// openCall is one of them.
type openCall struct {
	caller   *identity.Caller // nil for an anonymous call
	party    party
	endpoint string
	platform bool // a component is called
	renewed  bool // its API token is looked at again: see renew
	end      context.CancelFunc
	why      atomic.Pointer[errors.Error] // why it was ended
}

func newOpen() *open { return &open{calls: map[string]map[*openCall]bool{}} }

// add answers a context of the call that ends when the call is not allowed any
// more, and what to call when the call is over. Components answer a single call
// within a minute, and it may be the very one that revokes its token: that is let
// finish.
func (o *open) add(ctx context.Context, c *Call) (context.Context, func()) {
	ctx, over := o.put(ctx, c)
	if c.opened != nil && c.edge.changes.Load() != c.changes { // what was changed meanwhile has not found it
		c.opened.endFor(c.edge.refusal(c.opened))
	}
	return ctx, over
}

func (o *open) put(ctx context.Context, c *Call) (context.Context, func()) {
	if c.Platform() && (c.Caller == nil || c.target.stream == unary) {
		return ctx, func() {}
	}
	ctx, end := context.WithCancel(ctx)
	c.opened = &openCall{caller: c.Caller, party: c.party(), endpoint: c.Endpoint, platform: c.Platform(), end: end}
	namespace, x := c.Namespace, c.opened
	if c.Caller != nil {
		namespace = c.Caller.Namespace
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.calls[namespace] == nil {
		o.calls[namespace] = map[*openCall]bool{}
	}
	o.calls[namespace][x] = true
	if c.apiToken != "" && c.target.stream != unary {
		x.renewed = true
		go c.edge.renew(ctx, x, c.apiToken, c.from, c.Caller.Expires) // ends with the call
	}
	return ctx, func() {
		end()
		o.mu.Lock()
		defer o.mu.Unlock()
		if delete(o.calls[namespace], x); len(o.calls[namespace]) == 0 {
			delete(o.calls, namespace)
		}
	}
}

// end ends the calls of a namespace, or of all, that why has a reason for.
func (o *open) end(namespace string, why func(*openCall) *errors.Error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for of, calls := range o.calls {
		if namespace != "" && of != namespace {
			continue
		}
		for x := range calls {
			x.endFor(why(x))
		}
	}
}

// endFor ends a call for a reason, if there is one.
func (x *openCall) endFor(why *errors.Error) {
	if why != nil {
		x.why.CompareAndSwap(nil, why)
		x.end()
	}
}

// changed ends the calls of a namespace, or of all, that would not be let in now.
// Calls that are just being let in look again by themselves.
func (e *Edge) changed(namespace string) {
	e.changes.Add(1)
	e.open.end(namespace, e.refusal)
}

// refusal says why an open call would not be let in now, if so: its token was
// revoked, its namespace takes no calls, or a rule was withdrawn. Operators go on
// in a namespace that takes none.
func (e *Edge) refusal(x *openCall) *errors.Error {
	if x.caller != nil && e.admitted.refuses(*x.caller) {
		return x.unauthorized(revokedToken)
	}
	if x.caller == nil || !x.caller.Operator() {
		// That there is a snapshot is known, or the call would not be open.
		if t, err := e.tenants.Of(context.Background(), x.party.namespace); err == nil {
			if err := notTaken(t, x.party, x.platform); err != nil {
				return errors.FromError(err)
			}
		}
	}
	if x.platform {
		return nil
	}
	c := &Call{Service: x.party.service, Namespace: x.party.namespace, Caller: x.caller}
	return errors.FromError(e.mayCall(context.Background(), c, x.endpoint))
}

func (x *openCall) unauthorized(wrong *badToken) *errors.Error {
	return errors.New(codes.Unauthenticated, "Unauthorized call made to %s:%s: %s", x.party.service, x.endpoint, wrong.text).
		For(wrong.reason).From(x.party.service)
}

// missed ends the calls whose token may have been revoked without a word: auth,
// which was away for a time, tells of revocations for as long as tokens live.
func (e *Edge) missed(away time.Duration) {
	now := time.Now()
	e.open.end("", func(x *openCall) *errors.Error {
		if x.caller == nil || x.renewed || now.Before(x.caller.Expires) || away <= x.caller.Expires.Sub(x.caller.Issued) {
			return nil
		}
		return x.unauthorized(bad(identity.ErrExpired))
	})
}

// renewAgain is when auth is asked again that could not be.
const renewAgain = time.Minute

// renew sees to it that a stream ends with the API token that it came with: what
// stands for that lives for minutes, and ends with it.
func (e *Edge) renew(ctx context.Context, x *openCall, token, from string, expires time.Time) {
	for access := x.caller.Token; ; {
		t := time.NewTimer(max(time.Until(expires), askAgain))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		next, wrong, err := e.exchange.access(ctx, token, access, from)
		var caller *identity.Caller
		if wrong == nil && err == nil {
			caller, wrong, err = e.verify(ctx, next)
		}
		switch {
		case wrong != nil:
			x.endFor(x.unauthorized(wrong))
			return
		case err != nil:
			expires = time.Now().Add(renewAgain)
		default:
			access, expires = next, caller.Expires
		}
	}
}
