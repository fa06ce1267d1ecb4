package runtime

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/tenants"
	namespacespb "github.com/micro/platform/proto/namespaces"
	runtimepb "github.com/micro/platform/proto/runtime"
	schedulerpb "github.com/micro/platform/proto/scheduler"
)

// pushing is component namespaces: it tells what the test sends.
type pushing struct {
	namespacespb.ComponentsClient
	changes chan *namespacespb.Change
}

func (p pushing) Watch(ctx context.Context, _ *namespacespb.WatchRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[namespacespb.Change], error) {
	return fakeStream[namespacespb.Change]{next: func() (*namespacespb.Change, error) {
		select {
		case c := <-p.changes:
			return c, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}, nil
}

// tell lets the test push what is to be known of namespaces.
func (b *bench) tell(t *testing.T) func(*namespacespb.Tenant) {
	t.Helper()
	p, changed := pushing{changes: make(chan *namespacespb.Change, 10)}, make(chan struct{}, 1)
	b.svc.peers.Tenants = tenants.New(p, slog.New(slog.DiscardHandler), func(string) {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	b.svc.tenantsChanged = changed
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- b.svc.peers.Tenants.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	everything := plans.FromMap(nil)
	p.changes <- &namespacespb.Change{Plan: &namespacespb.Plan{Id: "local", Limits: everything.Map(), Default: true}}
	p.changes <- &namespacespb.Change{Ready: true}
	return func(x *namespacespb.Tenant) {
		x.Namespace, x.Plan = "acme", "local"
		p.changes <- &namespacespb.Change{Tenant: x}
	}
}

func (b *bench) containers() (n int) {
	b.world.look(func() { n = len(b.world.deployments) })
	return n
}

// TestSuspension shows that a suspended namespace has no containers, that what
// is deployed meanwhile does not start either, and that all of it runs again
// afterwards.
func TestSuspension(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tell := b.tell(t)
	b.reconcile()
	b.create("hello", "github.com/acme/hello")
	b.create("other", "github.com/acme/other")
	b.settled("hello", running)
	b.settled("other", running)

	tell(&namespacespb.Tenant{Suspension: &namespacespb.Suspension{Reason: "it sends spam"}})
	b.await("no containers are left", func() bool { return b.containers() == 0 })
	for _, name := range []string{"hello", "other"} {
		if status := b.settled(name, starting).GetMetadata()["status"]; !strings.Contains(status, "the namespace is suspended: it sends spam") {
			t.Errorf("%s is %q", name, status)
		}
	}
	b.create("late", "github.com/acme/late")
	b.settled("late", starting)
	b.world.look(func() {
		if len(b.world.deployments)+len(b.world.accounts)+len(b.world.nodes) > 0 {
			t.Errorf("left over: deployments %v, accounts %v, nodes %v", b.world.deployments, b.world.accounts, b.world.nodes)
		}
	})
	b.delete("other") // what is not wanted goes all the same
	b.await("other is gone", func() bool { return b.service("other") == nil })

	tell(&namespacespb.Tenant{})
	b.settled("hello", running)
	b.settled("late", running)
	if b.containers() != 2 {
		t.Errorf("%d containers, want 2", b.containers())
	}

	// A budget stops one service of them.
	tell(&namespacespb.Tenant{Throttles: []*namespacespb.Throttle{{Service: "late", Action: namespacespb.Action_STOP, Reason: "the budget of 10 EUR is spent"}}})
	if status := b.settled("late", starting).GetMetadata()["status"]; !strings.Contains(status, "the budget of 10 EUR is spent") {
		t.Errorf("late is %q", status)
	}
	b.settled("hello", running)
	tell(&namespacespb.Tenant{})
	b.settled("late", running)
}

// TestOneDoesNotHoldUpOthers: while what one service needs does not succeed, or
// takes its time, others are looked after.
func TestOneDoesNotHoldUpOthers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		broken func(b *bench, tell func(*namespacespb.Tenant)) (mend func())
	}{
		{"removal hangs", func(b *bench, tell func(*namespacespb.Tenant)) func() {
			reached, resume := make(chan struct{}), make(chan struct{})
			once := sync.OnceFunc(func() { close(reached) })
			b.world.change(func() {
				b.world.point = func(name string) error {
					if name == "before Remove" {
						once()
						<-resume
					}
					return nil
				}
			})
			tell(&namespacespb.Tenant{Throttles: []*namespacespb.Throttle{{Service: "a", Action: namespacespb.Action_STOP, Reason: "the budget is spent"}}})
			<-reached
			return func() { close(resume) }
		}},
		{"scaling fails", func(b *bench, _ func(*namespacespb.Tenant)) func() {
			back := b.world.without("Scale")
			if _, err := b.scale("a", 2); err != nil {
				b.t.Fatal(err)
			}
			return back
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			tell := b.tell(t)
			b.reconcile()
			for _, name := range []string{"a", "b"} {
				b.create(name, "github.com/acme/hello")
				b.settled(name, running)
			}
			mend := tt.broken(b, tell)
			defer mend()
			b.world.change(func() {
				const name = "acme/b/latest/1"
				b.world.deployments[name] = &schedulerpb.Status{Id: b.world.deployments[name].GetId(), State: schedulerpb.Status_FAILED, Reason: "exited with code 2"}
			})
			b.await("the crash of the other is seen", func() bool { return b.service("b").GetStatus() == failed.status() })
		})
	}
}

// TestPlan shows that the plan bounds services and replicas, and that the
// refusal names limit, value and what to do.
func TestPlan(t *testing.T) {
	t.Parallel()
	b := setup(t)
	limits := plans.FromMap(map[string]int64{"services": 1, "replicas": 2})
	b.svc.peers.Tenants = tenants.Fixed(limits)
	refused := func(name string, instances int64, want string) {
		t.Helper()
		_, err := b.svc.Create(b.admin, createRequest(name, "github.com/acme/hello", func(r *runtimepb.CreateRequest) { r.Options.Instances = instances }))
		if errors.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "micro plan") {
			t.Errorf("Create = %v, want ResourceExhausted and %q", err, want)
		}
	}
	refused("hello", 3, `may have 2 replicas, which is the limit "replicas"`)
	b.create("hello", "github.com/acme/hello", func(r *runtimepb.CreateRequest) { r.Options.Instances = 2 })
	refused("other", 1, `has 1 services, and may have 1`)
	_, err := b.svc.Update(b.admin, &runtimepb.UpdateRequest{Resource: &runtimepb.Resource{Service: &runtimepb.Service{Name: "hello"}}, Options: &runtimepb.UpdateOptions{Instances: 3}})
	if errors.Code(err) != codes.ResourceExhausted {
		t.Errorf("Update = %v, want ResourceExhausted", err)
	}
}
