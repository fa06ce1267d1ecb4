package runtime

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

// without makes the calls of a component fail, as long as it is away.
func (w *world) without(calls ...string) (back func()) {
	w.change(func() {
		w.point = func(name string) error {
			for _, c := range calls {
				if name == "before "+c {
					return errors.New(codes.Unavailable, "%s is away", c)
				}
			}
			return nil
		}
	})
	return func() { w.change(func() { w.point = func(string) error { return nil } }) }
}

// TestNothingIsStuck takes away what a state waits for: a revision that does not
// get it ends in error and says what it was, and leaves nothing behind. The same
// one goes on if it comes back in time.
func TestNothingIsStuck(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		lose   func(*world) (back func())
		state  state
		reason string
	}{
		{"the builder", func(w *world) func() { return w.without("Build") }, pending, "Build is away"},
		{"a turn at the builder", func(w *world) func() {
			w.change(func() { w.hold = true })
			return func() {
				w.change(func() {
					w.hold = false
					clear(w.builds) // it has lost them
				})
			}
		}, building, "waiting for the builder"},
		{"auth", func(w *world) func() { return w.without("Generate", "Token") }, starting, "Generate is away"},
		{"Docker", func(w *world) func() {
			w.change(func() { w.away = true })
			return func() { w.change(func() { w.away = false }) }
		}, starting, "Docker is not reachable"},
		{"the registry", func(w *world) func() { return w.without("List") }, starting, "List is away"},
	} {
		t.Run(tt.name+" is away", func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.svc.opts.Timeout = 2 * time.Second
			back := tt.lose(b.world)
			b.reconcile()
			b.create("hello", "github.com/acme/hello")
			var reason string
			b.await("it is given up", func() bool {
				s := b.service("hello")
				reason = s.GetMetadata()["error"]
				return s.GetStatus() == failed.status()
			})
			if !strings.HasPrefix(reason, "given up after 2s: ") || !strings.Contains(reason, tt.reason) {
				t.Errorf("the reason is %q, want %q in it", reason, tt.reason)
			}
			back()
			b.await("nothing is left of it", func() bool {
				var left int
				b.world.look(func() { left = len(b.world.deployments) + len(b.world.accounts) + len(b.world.nodes) })
				return left == 0 && b.idle()
			})
		})
		t.Run(tt.name+" comes back", func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			back := tt.lose(b.world)
			b.reconcile()
			b.create("hello", "github.com/acme/hello")
			b.await("it waits", func() bool {
				s := b.service("hello")
				return s.GetStatus() == tt.state.status() && strings.Contains(s.GetMetadata()["status"], tt.reason)
			})
			back()
			b.settled("hello", running)
			b.alone(1)
		})
	}
}

// TestStoppingEnds: what is to be removed stays on the list until all of it is
// gone, whoever is away meanwhile.
func TestStoppingEnds(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"Evict", "Remove", "Delete"} {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.reconcile()
			b.create("hello", "github.com/acme/hello")
			b.settled("hello", running)
			back := b.world.without(call)
			b.delete("hello")
			b.await("it cannot go on", func() bool {
				return strings.Contains(b.revisions("hello")[0].GetDetail(), call+" is away")
			})
			back()
			b.await("it is gone", func() bool { return b.service("hello") == nil })
			b.nothing()
		})
	}
}
