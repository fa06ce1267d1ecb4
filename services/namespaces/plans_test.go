package namespaces

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	namespacespb "github.com/micro/platform/proto/namespaces"
)

func asComponent(ctx context.Context) context.Context {
	return identity.With(ctx, identity.Caller{ID: "usage", Type: identity.Component, Namespace: identity.Platform})
}

// feed is a watcher's stream, read in this process.
type feed struct {
	grpc.ServerStreamingServer[namespacespb.Change]
	ctx     context.Context
	changes chan *namespacespb.Change
	ended   chan error
}

func (f *feed) Context() context.Context { return f.ctx }

func (f *feed) Send(c *namespacespb.Change) error {
	select {
	case f.changes <- c:
		return nil
	case <-f.ctx.Done():
		return io.EOF
	}
}

// follow runs the loop that a component runs.
func (b *bundle) follow(t *testing.T, s *Service) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.tenants.run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

func watching(t *testing.T, s *Service) *feed {
	t.Helper()
	ctx, cancel := context.WithCancel(asComponent(t.Context()))
	f := &feed{ctx: ctx, changes: make(chan *namespacespb.Change, 100), ended: make(chan error, 1)}
	go func() { f.ended <- components{Service: s}.Watch(&namespacespb.WatchRequest{}, f) }()
	t.Cleanup(func() { cancel(); <-f.ended })
	return f
}

func (f *feed) next(t *testing.T) *namespacespb.Change {
	t.Helper()
	select {
	case c := <-f.changes:
		return c
	case err := <-f.ended:
		f.ended <- err
		t.Fatal("the stream has ended: ", err)
	case <-time.After(patience):
		t.Fatal("no change came")
	}
	return nil
}

// snapshot reads up to ready.
func (f *feed) snapshot(t *testing.T) (plans []string, tenants map[string]*namespacespb.Tenant) {
	t.Helper()
	tenants = map[string]*namespacespb.Tenant{}
	for {
		c := f.next(t)
		switch {
		case c.GetReady():
			return plans, tenants
		case c.GetPlan() != nil:
			plans = append(plans, c.GetPlan().GetId())
		default:
			tenants[c.GetTenant().GetNamespace()] = c.GetTenant()
		}
	}
}

// TestPlanIsPushed shows what watchers of two processes are told when an
// operator works on a namespace.
func TestPlanIsPushed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signup(t, "jane@example.com", "jane-space")
	b.signup(t, "joe@example.com", "joe-space")
	first, other := b.Service, b.start(t)
	b.follow(t, first)
	b.follow(t, other)
	feeds := []*feed{watching(t, b.Service), watching(t, other)}
	for _, f := range feeds {
		plans, tenants := f.snapshot(t)
		if strings.Join(plans, " ") != "free pro business local" || len(tenants) != 1 || tenants["micro"].GetPlan() != "local" {
			t.Fatalf("snapshot = %v, %v; want the catalogue and the platform's own", plans, tenants)
		}
	}
	operator, api := as(t, identity.Platform), plansAPI{Service: b.Service}
	rsp, err := api.Set(operator, &namespacespb.SetPlanRequest{Namespace: "jane-space", Plan: "free", Limits: map[string]int64{"services": 5}})
	if err != nil || rsp.GetPlan() != "free" {
		t.Fatalf("Set = %v, %v", rsp, err)
	}
	for _, l := range rsp.GetLimits() {
		if want := l.GetName() == "services"; l.GetOwn() != want || want && l.GetValue() != 5 || l.GetUnit() == "" {
			t.Errorf("limit %v", l)
		}
	}
	// Each is waited for: two changes at once may be told as one.
	told := func(what string, is func(*namespacespb.Tenant) bool) {
		t.Helper()
		for _, f := range feeds {
			if x := f.next(t).GetTenant(); !is(x) {
				t.Errorf("told %v, want %s", x, what)
			}
		}
	}
	told("the plan", func(x *namespacespb.Tenant) bool {
		return x.GetPlan() == "free" && x.GetLimits()["services"] == 5 && x.GetSuspension() == nil
	})
	if _, err := api.Suspend(operator, &namespacespb.SuspendRequest{Namespace: "jane-space", Reason: "unpaid"}); err != nil {
		t.Fatal(err)
	}
	told("the suspension", func(x *namespacespb.Tenant) bool {
		return x.GetSuspension().GetReason() == "unpaid" && time.Since(time.Unix(x.GetSuspension().GetSince(), 0)) < time.Minute
	})
	throttle := &namespacespb.SetThrottleRequest{Namespace: "jane-space", Service: "web", Action: namespacespb.Action_STOP, Reason: "budget of 10 EUR is spent"}
	for range 2 { // the second one changes nothing, so nobody is told
		if _, err := (components{Service: other}).SetThrottle(asComponent(t.Context()), throttle); err != nil {
			t.Fatal(err)
		}
	}
	told("the throttle", func(x *namespacespb.Tenant) bool {
		l := x.GetThrottles()
		return len(l) == 1 && l[0].GetService() == "web" && l[0].GetAction() == namespacespb.Action_STOP && l[0].GetReason() != ""
	})
	if _, err := api.Resume(operator, &namespacespb.ResumeRequest{Namespace: "jane-space"}); err != nil {
		t.Fatal(err)
	}
	told("that it is lifted", func(x *namespacespb.Tenant) bool {
		return x.GetSuspension() == nil && len(x.GetThrottles()) == 1
	})

	// A later watcher and a later process have it all in the snapshot.
	third := b.start(t)
	b.follow(t, third)
	for _, s := range []*Service{b.Service, third} {
		_, known := watching(t, s).snapshot(t)
		got, err := components{Service: s}.GetTenant(asComponent(t.Context()), &namespacespb.GetTenantRequest{Namespace: "jane-space"})
		if err != nil || !proto.Equal(got, known["jane-space"]) || known["joe-space"] != nil {
			t.Errorf("snapshot = %v, GetTenant = %v, %v", known, got, err)
		}
	}

	// Back to what everybody has.
	throttle.Action, throttle.Reason = namespacespb.Action_NONE, ""
	if _, err := (components{Service: b.Service}).SetThrottle(asComponent(t.Context()), throttle); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Set(operator, &namespacespb.SetPlanRequest{Namespace: "jane-space", Plan: "default", Unset: []string{"services"}}); err != nil {
		t.Fatal(err)
	}
	for _, f := range feeds {
		f.next(t)
		if last := f.next(t).GetTenant(); !proto.Equal(last, &namespacespb.Tenant{Namespace: "jane-space", Plan: "local"}) {
			t.Errorf("told %v, want the default", last)
		}
	}
	if _, known := watching(t, b.Service).snapshot(t); len(known) != 1 {
		t.Errorf("snapshot = %v, want the platform's own", known)
	}
}

func TestPlansMistakes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signup(t, "jane@example.com", "jane-space")
	api, operator, member := plansAPI{Service: b.Service}, as(t, identity.Platform), as(t, "jane-space")
	set := func(ctx context.Context, req *namespacespb.SetPlanRequest) func() error {
		return func() error { _, err := api.Set(ctx, req); return err }
	}
	suspend := func(ctx context.Context, namespace, reason string) func() error {
		return func() error {
			_, err := api.Suspend(ctx, &namespacespb.SuspendRequest{Namespace: namespace, Reason: reason})
			return err
		}
	}
	throttle := func(ctx context.Context, req *namespacespb.SetThrottleRequest) func() error {
		return func() error { _, err := components{Service: b.Service}.SetThrottle(ctx, req); return err }
	}
	parts := asComponent(t.Context())
	for _, tt := range []struct {
		name string
		call func() error
		want codes.Code
		text string
	}{
		{"member sets a plan", set(member, &namespacespb.SetPlanRequest{Namespace: "jane-space", Plan: "business"}), codes.PermissionDenied, "operators"},
		{"component sets a plan", set(parts, &namespacespb.SetPlanRequest{Namespace: "jane-space", Plan: "pro"}), codes.PermissionDenied, "operators"},
		{"anonymous", set(t.Context(), &namespacespb.SetPlanRequest{Namespace: "jane-space"}), codes.Unauthenticated, ""},
		{"no such plan", set(operator, &namespacespb.SetPlanRequest{Namespace: "jane-space", Plan: "gold"}), codes.InvalidArgument, `plan: there is no plan "gold", only free, pro`},
		{"no such limit", set(operator, &namespacespb.SetPlanRequest{Namespace: "jane-space", Limits: map[string]int64{"x": 1}}), codes.InvalidArgument, `no limit "x"`},
		{"no such limit to unset", set(operator, &namespacespb.SetPlanRequest{Namespace: "jane-space", Unset: []string{"x"}}), codes.InvalidArgument, `unset: there is no limit "x"`},
		{"contradiction", set(operator, &namespacespb.SetPlanRequest{Namespace: "jane-space", Plan: "free", Limits: map[string]int64{"rate": 1000}}), codes.InvalidArgument, "burst"},
		{"nobody's", set(operator, &namespacespb.SetPlanRequest{Namespace: "nobody", Plan: "free"}), codes.NotFound, "nobody"},
		{"the operators' own", set(operator, &namespacespb.SetPlanRequest{Namespace: "micro", Plan: "free"}), codes.InvalidArgument, "operators' own"},
		{"member suspends", suspend(member, "jane-space", "x"), codes.PermissionDenied, "operators"},
		{"without a reason", suspend(operator, "jane-space", ""), codes.InvalidArgument, "reason: 1 to 500 bytes"},
		{"with a long one", suspend(operator, "jane-space", strings.Repeat("a", 501)), codes.InvalidArgument, "reason"},
		{"suspend nobody", suspend(operator, "nobody", "x"), codes.NotFound, ""},
		{"suspend the operators", suspend(operator, "micro", "x"), codes.InvalidArgument, ""},
		{"operator throttles", throttle(operator, &namespacespb.SetThrottleRequest{Namespace: "jane-space"}), codes.PermissionDenied, "components"},
		{"throttle nobody", throttle(parts, &namespacespb.SetThrottleRequest{Namespace: "nobody"}), codes.NotFound, ""},
		{"throttle without a reason", throttle(parts, &namespacespb.SetThrottleRequest{Namespace: "jane-space", Action: namespacespb.Action_STOP}), codes.InvalidArgument, "reason"},
		{"unknown action", throttle(parts, &namespacespb.SetThrottleRequest{Namespace: "jane-space", Action: 7, Reason: "x"}), codes.InvalidArgument, "action: 7"},
	} {
		if err := tt.call(); errors.Code(err) != tt.want || err != nil && !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v, want %v with %q", tt.name, err, tt.want, tt.text)
		}
	}
	if _, err := api.Limits(as(t, "joe-space"), &namespacespb.LimitsRequest{Namespace: "jane-space"}); errors.Code(err) != codes.PermissionDenied {
		t.Errorf("another's limits: %v, want PermissionDenied", err)
	}
	rsp, err := api.Limits(member, &namespacespb.LimitsRequest{})
	if err != nil || rsp.GetPlan() != "local" || rsp.GetNamespace() != "jane-space" {
		t.Errorf("Limits = %v, %v", rsp, err)
	}
}

func TestCatalogueSetting(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "plans.yaml")
	if err := os.WriteFile(file, []byte("plans: [{id: local}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, o := range map[string]Options{
		"MICRO_NAMESPACES_PLAN: there is no plan \"gold\"": {Plan: "gold"},
		"title: 1 to 64 bytes":                             {Plan: "local", Plans: file},
		"MICRO_NAMESPACES_PLANS: open":                     {Plan: "local", Plans: file + ".not"},
	} {
		_, err := New(Stores{}, nil, nil, pepper("a key that only tests use"), slog.New(slog.DiscardHandler), o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New = %v, want %q", err, want)
		}
	}
}
