package proxy

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/micro/platform/internal/identity"
)

// open is the calls under way that came with a token, so that they end with it.
type open struct {
	mu    sync.Mutex
	calls map[string]map[*openCall]bool // by the namespace of the caller
}

// openCall is one of them.
type openCall struct {
	caller  identity.Caller
	end     context.CancelFunc
	revoked atomic.Bool
}

func newOpen() *open { return &open{calls: map[string]map[*openCall]bool{}} }

// add answers a context of the call that ends when its token is revoked, and
// what to call when the call is over. Components answer a single call within a
// minute, and it may be the very one that revokes its token: that is let finish.
func (o *open) add(ctx context.Context, c *Call) (context.Context, func()) {
	if c.Caller == nil || c.Platform() && c.target.stream == unary {
		return ctx, func() {}
	}
	ctx, end := context.WithCancel(ctx)
	c.opened = &openCall{caller: *c.Caller, end: end}
	namespace, x := c.Caller.Namespace, c.opened
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
	o.mu.Lock()
	defer o.mu.Unlock()
	for of, calls := range o.calls {
		if namespace != "" && of != namespace {
			continue
		}
		for x := range calls {
			if revoked(x.caller) {
				x.revoked.Store(true)
				x.end()
			}
		}
	}
}
