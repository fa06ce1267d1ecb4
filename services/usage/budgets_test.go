package usage

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/billing/rating"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/grants"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/meter"
	namespacespb "github.com/micro/platform/proto/namespaces"
	schedulerpb "github.com/micro/platform/proto/scheduler"
	usagepb "github.com/micro/platform/proto/usage"
)

var unlimited = plans.Limits{Requests: plans.Unlimited, Egress: plans.Unlimited}

// calls counts calls of a service of namespace acme, which cost 1 EUR each.
func calls(t *testing.T, s *Service, service string, n int) {
	t.Helper()
	var records []meter.Record
	for range n {
		records = append(records, call(today, service, meter.OK))
	}
	appendTo(t, s, newEdge(t).batch(records...))
}

// look looks at what there is to look at.
func (s *Service) look(t *testing.T) {
	t.Helper()
	for namespace := range s.keeper.take() {
		if err := s.keeper.look(t.Context(), namespace); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *Service) set(t *testing.T, service string, cap int64, action usagepb.BudgetAction) {
	t.Helper()
	_, err := budgets{Service: s}.Set(as(t, "acme", "admin"), &usagepb.SetBudgetRequest{Service: service, Cap: cap, Action: action})
	if err != nil {
		t.Fatal(err)
	}
}

func mails(t *testing.T, s *Service) (n int) {
	t.Helper()
	if err := s.db.pool.QueryRow(t.Context(), "SELECT count(*) FROM usage.river_job").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestDefaultBudget shows that a namespace which has set nothing has a budget,
// whose owner hears of it at 80 and at 100 percent, once each.
func TestDefaultBudget(t *testing.T) {
	t.Parallel()
	s, n := setupWith(t, unlimited)
	for _, step := range []struct{ calls, mails int }{{79, 0}, {1, 1}, {19, 1}, {1, 2}, {30, 2}} {
		calls(t, s, "greeter", step.calls)
		s.look(t)
		if got := mails(t, s); got != step.mails {
			t.Errorf("after %d more calls there were %d mails, want %d", step.calls, got, step.mails)
		}
	}
	if n.told > 0 {
		t.Errorf("a budget that only notifies has held something back: %v", n.throttles)
	}
	rsp, err := budgets{Service: s}.Get(as(t, "acme"), &usagepb.GetBudgetsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want := &usagepb.GetBudgetsResponse{Currency: "EUR", Month: "2026-11-01", Requests: 130, RequestsLimit: -1,
		Budgets: []*usagepb.Budget{{Cap: 10_000, SpentMillionths: 13_000 * rating.Millionths, Default: true}}}
	if diff := cmp.Diff(want, rsp, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

// TestBudgetHoldsBack shows that a budget which is spent stops what it is for,
// with a reason that says how to go on, and that raising it lets go at once.
func TestBudgetHoldsBack(t *testing.T) {
	t.Parallel()
	s, n := setupWith(t, unlimited)
	s.set(t, "greeter", 500, usagepb.BudgetAction_STOP)
	s.set(t, "", 2_000, usagepb.BudgetAction_THROTTLE)
	calls(t, s, "greeter", 4)
	calls(t, s, "other", 4)
	s.look(t)
	if n.told > 0 {
		t.Fatalf("held back too early: %v", n.throttles)
	}
	calls(t, s, "greeter", 1)
	s.look(t)
	got := n.throttles["acme/greeter"]
	if got.GetAction() != namespacespb.Action_STOP || !strings.Contains(got.GetReason(), "5.00 EUR") ||
		!strings.Contains(got.GetReason(), "micro budget set AMOUNT --service greeter") || !strings.Contains(got.GetReason(), "2026-12-01") {
		t.Errorf("the spent budget of a service: %v", got)
	}
	calls(t, s, "other", 12)
	s.look(t)
	if got := n.throttles["acme/"]; got.GetAction() != namespacespb.Action_SLOW {
		t.Errorf("the spent budget of the namespace: %v", got)
	}
	told := n.told
	calls(t, s, "other", 1)
	s.look(t)
	if n.told != told {
		t.Error("what is known was told again")
	}
	s.set(t, "greeter", 5_000, usagepb.BudgetAction_STOP)
	s.look(t)
	if got := n.throttles["acme/greeter"]; got.GetAction() != namespacespb.Action_NONE {
		t.Errorf("after it was raised: %v", got)
	}
	s.keeper.now = func() time.Time { return today.AddDate(0, 1, 0) }
	if err := s.keeper.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.look(t)
	if got := n.throttles["acme/"]; got.GetAction() != namespacespb.Action_NONE {
		t.Errorf("in the next month: %v", got)
	}
}

// TestNoEgressIsNoQuota shows that a namespace whose containers have no way out
// still answers calls.
func TestNoEgressIsNoQuota(t *testing.T) {
	t.Parallel()
	s, n := setupWith(t, plans.Limits{Requests: plans.Unlimited})
	calls(t, s, "greeter", 10)
	s.look(t)
	if n.told > 0 {
		t.Errorf("held back: %v", n.throttles)
	}
}

// TestQuota shows that the calls of a month which the plan has are the last.
func TestQuota(t *testing.T) {
	t.Parallel()
	s, n := setupWith(t, plans.Limits{Requests: 10, Egress: plans.Unlimited})
	calls(t, s, "greeter", 10)
	s.look(t)
	if n.told > 0 {
		t.Fatalf("held back at the limit: %v", n.throttles)
	}
	calls(t, s, "greeter", 1)
	s.look(t)
	got := n.throttles["acme/"]
	if got.GetAction() != namespacespb.Action_STOP || !strings.Contains(got.GetReason(), "the 10 calls a month of plan fixed (limit requests)") {
		t.Errorf("over the quota: %v", got)
	}
}

// TestEgressQuota shows that what edges answer and what containers send count
// together, that what stays on the platform does not count, nor what was refused.
func TestEgressQuota(t *testing.T) {
	t.Parallel()
	s, n := setupWith(t, plans.Limits{Requests: plans.Unlimited, Egress: 1000})
	outside, refused := call(today, "greeter", meter.OK), call(today, "greeter", meter.Refused)
	outside.Inside, refused.Inside = false, false
	appendTo(t, s, newEdge(t).batch(outside, outside, refused, call(today, "greeter", meter.OK)))
	if got := total(t, s).GetEgressBytes(); got != 200 {
		t.Errorf("%d bytes of two answers of 100", got)
	}
	h := &host{sent: []*schedulerpb.Egress{{Namespace: "acme", Counter: "boot1", Bytes: 800}}}
	s.parts.scheduler = h
	for _, over := range []bool{false, true} {
		if err := s.egress(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.look(t)
		if got := n.throttles["acme/"]; (got.GetAction() == namespacespb.Action_STOP) != over || over && !strings.Contains(got.GetReason(), "limit egress") {
			t.Errorf("with %d bytes of 1000: %v", h.sent[0].GetBytes()+200, got)
		}
		h.sent[0].Bytes++
	}
}

// TestBillingSetsBudgets shows that the role may, and a viewer may not.
func TestBillingSetsBudgets(t *testing.T) {
	t.Parallel()
	s, _ := setupWith(t, unlimited)
	for role, want := range map[grants.Role]codes.Code{grants.Billing: codes.OK, grants.Viewer: codes.PermissionDenied, grants.Developer: codes.PermissionDenied} {
		ctx := as(t, "acme", role.Scope())
		caller, _ := identity.From(ctx)
		ctx, err := identity.Admit(ctx, caller, "usage", "Budgets.Set")
		if err == nil {
			_, err = budgets{Service: s}.Set(ctx, &usagepb.SetBudgetRequest{Cap: 100})
		}
		if got := errors.Code(err); got != want {
			t.Errorf("%s sets a budget: %v, want %v", role, err, want)
		}
	}
}

func TestBadBudgets(t *testing.T) {
	t.Parallel()
	s, _ := setupWith(t, unlimited)
	api := budgets{Service: s}
	set := func(ctx context.Context, req *usagepb.SetBudgetRequest) error {
		_, err := api.Set(ctx, req)
		return err
	}
	remove := func(ctx context.Context, req *usagepb.DeleteBudgetRequest) error {
		_, err := api.Delete(ctx, req)
		return err
	}
	get := func(ctx context.Context, namespace string) error {
		_, err := api.Get(ctx, &usagepb.GetBudgetsRequest{Namespace: namespace})
		return err
	}
	admin := as(t, "acme", "admin")
	for _, tt := range []struct {
		name string
		err  error
		want codes.Code
	}{
		{"read by a viewer", get(as(t, "acme"), ""), codes.OK},
		{"read by nobody", get(t.Context(), "acme"), codes.Unauthenticated},
		{"read by another namespace", get(as(t, "other", "admin"), "acme"), codes.PermissionDenied},
		{"set by a viewer", set(as(t, "acme"), &usagepb.SetBudgetRequest{}), codes.PermissionDenied},
		{"set by another namespace", set(as(t, "other", "admin"), &usagepb.SetBudgetRequest{Namespace: "acme"}), codes.PermissionDenied},
		{"less than nothing", set(admin, &usagepb.SetBudgetRequest{Cap: -1}), codes.InvalidArgument},
		{"too much", set(admin, &usagepb.SetBudgetRequest{Cap: maxCap + 1}), codes.InvalidArgument},
		{"no such action", set(admin, &usagepb.SetBudgetRequest{Action: 7}), codes.InvalidArgument},
		{"no such service name", set(admin, &usagepb.SetBudgetRequest{Service: "A b"}), codes.InvalidArgument},
		{"one", set(admin, &usagepb.SetBudgetRequest{Service: "a"}), codes.OK},
		{"two", set(admin, &usagepb.SetBudgetRequest{Service: "b"}), codes.OK},
		{"three", set(admin, &usagepb.SetBudgetRequest{}), codes.OK},
		{"one too many", set(admin, &usagepb.SetBudgetRequest{Service: "c"}), codes.ResourceExhausted},
		{"changed", set(admin, &usagepb.SetBudgetRequest{Service: "b", Cap: 7}), codes.OK},
		{"deleted by a viewer", remove(as(t, "acme"), &usagepb.DeleteBudgetRequest{Service: "b"}), codes.PermissionDenied},
		{"deleted", remove(admin, &usagepb.DeleteBudgetRequest{Service: "b"}), codes.OK},
		{"deleted again", remove(admin, &usagepb.DeleteBudgetRequest{Service: "b"}), codes.NotFound},
	} {
		if got := errors.Code(tt.err); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, tt.err, tt.want)
		}
	}
}
