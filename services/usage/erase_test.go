package usage

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/meter"
	"github.com/micro/platform/internal/pgtest"
	"github.com/micro/platform/internal/tenants"
	namespacespb "github.com/micro/platform/proto/namespaces"
	usagepb "github.com/micro/platform/proto/usage"
)

// TestErase removes what a namespace has used, in parts, and no other's.
func TestErase(t *testing.T) {
	t.Parallel()
	s := setup(t)
	_, err := s.db.pool.Exec(t.Context(), `
		INSERT INTO usage.days (namespace, day, service, endpoint, account, class)
		SELECT 'acme', '2026-11-21', 's', n::text, '', 'ok' FROM generate_series(1, $1) AS n`, erasePage+7)
	if err != nil {
		t.Fatal(err)
	}
	other := call(today, "greeter", meter.OK)
	other.Namespace = "other"
	appendTo(t, s, newEdge(t).batch(call(today, "greeter", meter.OK), other))
	s.set(t, "", 100, usagepb.BudgetAction_NOTIFY)
	if _, err := s.Erase(as(t, "acme", "admin"), &usagepb.EraseRequest{Namespace: "acme"}); errors.Code(err) != codes.PermissionDenied {
		t.Errorf("a member: %v, want PermissionDenied", err)
	}
	calls := 0
	for done := false; !done; calls++ {
		rsp, err := s.Erase(asComponent(t), &usagepb.EraseRequest{Namespace: "acme"})
		if err != nil || calls > 5 {
			t.Fatalf("call %d: %v", calls, err)
		}
		done = rsp.GetDone()
	}
	if rsp, err := s.Erase(asComponent(t), &usagepb.EraseRequest{Namespace: "acme"}); err != nil || !rsp.GetDone() || calls < 2 {
		t.Errorf("once more after %d calls: %v, %v", calls, rsp, err)
	}
	if got := pgtest.Rows(t, s.db.pool, "usage", "acme"); len(got) > 0 {
		t.Errorf("left: %v", got)
	}
	if got := pgtest.Rows(t, s.db.pool, "usage", "other"); got["days"] != 1 || got["months"] != 1 {
		t.Errorf("the other namespace has %v", got)
	}
}

// pushing is component namespaces, which tells what is in the channel.
type pushing struct {
	namespacespb.ComponentsClient
	changes chan *namespacespb.Change
}

type pushes struct {
	grpc.ServerStreamingClient[namespacespb.Change]
	ctx     context.Context
	changes chan *namespacespb.Change
}

func (p pushing) Watch(ctx context.Context, _ *namespacespb.WatchRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[namespacespb.Change], error) {
	return pushes{ctx: ctx, changes: p.changes}, nil
}

func (p pushes) Recv() (*namespacespb.Change, error) {
	select {
	case c := <-p.changes:
		return c, nil
	case <-p.ctx.Done():
		return nil, p.ctx.Err()
	}
}

// follow answers tenants who know of one.
func follow(t *testing.T, x *namespacespb.Tenant) *tenants.Tenants {
	t.Helper()
	p := pushing{changes: make(chan *namespacespb.Change, 3)}
	everything := plans.FromMap(nil)
	p.changes <- &namespacespb.Change{Plan: &namespacespb.Plan{Id: "fixed", Limits: everything.Map(), Default: true}}
	p.changes <- &namespacespb.Change{Tenant: x}
	p.changes <- &namespacespb.Change{Ready: true}
	all := tenants.New(p, slog.New(slog.DiscardHandler), nil)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- all.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return all
}

// TestLateRecords shows that calls of a namespace that is erased are forgotten,
// and that another one of that name does not get them.
func TestLateRecords(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		tenant *namespacespb.Tenant
		want   int64
	}{
		{"deleted, and may come back", &namespacespb.Tenant{Deleted: &namespacespb.Deleted{State: namespacespb.State_DELETING}}, 2},
		{"being erased", &namespacespb.Tenant{Deleted: &namespacespb.Deleted{State: namespacespb.State_ERASING}}, 0},
		{"erased", &namespacespb.Tenant{Deleted: &namespacespb.Deleted{State: namespacespb.State_ERASED}}, 0},
		{"another one", &namespacespb.Tenant{Since: today.Add(-time.Minute).Unix()}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := setup(t)
			tt.tenant.Namespace, tt.tenant.Plan = "acme", "fixed"
			s.keeper.tenants = follow(t, tt.tenant)
			appendTo(t, s, newEdge(t).batch(call(today.Add(-time.Hour), "greeter", meter.OK), call(today, "greeter", meter.OK)))
			if got := total(t, s).GetCalls(); got != tt.want {
				t.Errorf("%d calls are counted, want %d", got, tt.want)
			}
		})
	}
}
