package proxy

import (
	"context"
	"sync"
	"sync/atomic"

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
	end      context.CancelFunc
	why      atomic.Pointer[errors.Error] // why it was ended
}

func newOpen() *open { return &open{calls: map[string]map[*openCall]bool{}} }

// add answers a context of the call that ends when the call is not allowed any
// more, and what to call when the call is over. Components answer a single call
// within a minute, and it may be the very one that revokes its token: that is let
// finish.
func (o *open) add(ctx context.Context, c *Call) (context.Context, func()) {
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
	return ctx, func() {
		end()
		o.mu.Lock()
		defer o.mu.Unlock()
		if delete(o.calls[namespace], x); len(o.calls[namespace]) == 0 {
			delete(o.calls, namespace)
		}
	}
}

// endRevoked ends the calls of a namespace, or of all, whose token is refused
// now.
func (o *open) endRevoked(namespace string, revoked func(identity.Caller) bool) {
	o.endIf(namespace, func(x *openCall) *errors.Error {
		if x.caller == nil || !revoked(*x.caller) {
			return nil
		}
		return errors.New(codes.Unauthenticated, "Unauthorized call made to %s:%s: %s", x.party.service, x.endpoint, revokedToken.text).
			For(revokedToken.reason).From(x.party.service)
	})
}

// endRefused ends the calls of a namespace, or of all, that are not taken now.
// Operators who work in it go on.
func (o *open) endRefused(namespace string, refuse func(p party, isCore bool) error) {
	o.endIf(namespace, func(x *openCall) *errors.Error {
		if x.caller != nil && x.caller.Operator() {
			return nil
		}
		if err := refuse(x.party, x.platform); err != nil {
			return errors.FromError(err)
		}
		return nil
	})
}

func (o *open) endIf(namespace string, why func(*openCall) *errors.Error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for of, calls := range o.calls {
		if namespace != "" && of != namespace {
			continue
		}
		for x := range calls {
			if err := why(x); err != nil {
				x.why.Store(err)
				x.end()
			}
		}
	}
}
