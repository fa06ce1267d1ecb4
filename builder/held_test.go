package builder

import (
	"context"
	"log/slog"
	"testing"

	"github.com/riverqueue/river"
	"google.golang.org/grpc"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/tenants"
	builderpb "github.com/micro/platform/proto/builder"
	namespacespb "github.com/micro/platform/proto/namespaces"
)

// telling is component namespaces: it tells what it has been given.
type telling struct {
	namespacespb.ComponentsClient
	grpc.ServerStreamingClient[namespacespb.Change]
	ctx     context.Context //nolint:containedctx // of the stream
	changes chan *namespacespb.Change
}

func (x telling) Watch(ctx context.Context, _ *namespacespb.WatchRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[namespacespb.Change], error) {
	x.ctx = ctx
	return x, nil
}

func (x telling) Recv() (*namespacespb.Change, error) {
	select {
	case c := <-x.changes:
		return c, nil
	case <-x.ctx.Done():
		return nil, x.ctx.Err()
	}
}

// suspended answers tenants of which one is suspended.
func suspended(t *testing.T, namespace string) *tenants.Tenants {
	t.Helper()
	x := telling{changes: make(chan *namespacespb.Change, 3)}
	all := plans.FromMap(nil)
	x.changes <- &namespacespb.Change{Plan: &namespacespb.Plan{Id: "local", Limits: all.Map(), Default: true}}
	x.changes <- &namespacespb.Change{Tenant: &namespacespb.Tenant{Namespace: namespace, Plan: "local", Suspension: &namespacespb.Suspension{Reason: "it sends spam"}}}
	x.changes <- &namespacespb.Change{Ready: true}
	known := tenants.New(x, slog.New(slog.DiscardHandler), nil)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- known.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return known
}

// TestHeldBuildKeepsNobodyWaiting: while a namespace is suspended its queued builds
// do not take the second place from others.
func TestHeldBuildKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, x := range []*builderpb.ID{id("alpha", 1), id("alpha", 2), id("beta", 1)} {
		if _, err := b.Build(component(t), &builderpb.BuildRequest{Id: x, Source: "source://hello:latest", Upload: "up"}); err != nil {
			t.Fatal(err)
		}
	}
	b.Service.tenants = suspended(t, "beta")
	claim := func(revision int64) error {
		_, err := b.db.claim(t.Context(), fromProto(id("alpha", revision)), 2)
		return err
	}
	if err := claim(1); err != nil {
		t.Fatal(err)
	}
	if err := claim(2); !errors.Is(err, errBusy) {
		t.Errorf("while the other may have its first: %v", err)
	}
	var snoozed *river.JobSnoozeError
	if err := b.workers.Work(t.Context(), &river.Job[job]{Args: job{fromProto(id("beta", 1))}}); !errors.As(err, &snoozed) {
		t.Errorf("Work = %v", err)
	}
	if s, err := b.state(t, id("beta", 1)); err != nil || s.Step != "the namespace is suspended: it sends spam: the build waits" {
		t.Errorf("it waits for %q, %v", s.Step, err)
	}
	if err := claim(2); err != nil {
		t.Errorf("while the other is suspended: %v", err)
	}
}
