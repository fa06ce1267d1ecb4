package usage

import (
	"context"
	"slices"

	"github.com/micro/platform/billing/rating"
	"github.com/micro/platform/internal/identity"
	usagepb "github.com/micro/platform/proto/usage"
)

// budget is what a namespace, or a service of it, may cost in a month.
type budget struct {
	Service string
	Cap     int64
	Action  usagepb.BudgetAction
	Default bool
}

// budgets is the API usage.Budgets.
type budgets struct {
	usagepb.UnsafeBudgetsServer
	*Service
}

// Get implements the RPC.
func (s budgets) Get(ctx context.Context, req *usagepb.GetBudgetsRequest) (*usagepb.GetBudgetsResponse, error) {
	namespace, err := identity.Member(ctx, req.GetNamespace())
	if err != nil {
		return nil, err
	}
	return s.answer(ctx, namespace)
}

// Set implements the RPC.
func (s budgets) Set(ctx context.Context, req *usagepb.SetBudgetRequest) (*usagepb.GetBudgetsResponse, error) {
	namespace, err := identity.Admin(ctx, req.GetNamespace())
	if err != nil {
		return nil, err
	}
	if err := checkBudget(req); err != nil {
		return nil, err
	}
	caller, _ := identity.From(ctx)
	if err := s.db.setBudget(ctx, namespace, budget{Service: req.GetService(), Cap: req.GetCap(), Action: req.GetAction()}, caller.ID, s.opts.MaxBudgets); err != nil {
		return nil, err
	}
	s.keeper.mark(namespace)
	return s.answer(ctx, namespace)
}

// Delete implements the RPC.
func (s budgets) Delete(ctx context.Context, req *usagepb.DeleteBudgetRequest) (*usagepb.GetBudgetsResponse, error) {
	namespace, err := identity.Admin(ctx, req.GetNamespace())
	if err != nil {
		return nil, err
	}
	if err := s.db.deleteBudget(ctx, namespace, req.GetService()); err != nil {
		return nil, err
	}
	s.keeper.mark(namespace)
	return s.answer(ctx, namespace)
}

func (s budgets) answer(ctx context.Context, namespace string) (*usagepb.GetBudgetsResponse, error) {
	b, err := s.keeper.balance(ctx, namespace)
	if err != nil {
		return nil, err
	}
	out := &usagepb.GetBudgetsResponse{
		Currency: b.price.Currency, Month: day(b.month), Requests: b.total.Calls, RequestsLimit: int64(b.limits.Requests),
	}
	for _, x := range b.budgets {
		out.Budgets = append(out.Budgets, &usagepb.Budget{Service: x.Service, Cap: x.Cap, Action: x.Action, Default: x.Default, SpentMillionths: b.spent(x.Service)})
	}
	return out, nil
}

// withDefault puts the server's default before the budgets of services if the
// namespace has none of its own.
func withDefault(own []budget, standard int64) []budget {
	if standard > 0 && !slices.ContainsFunc(own, func(b budget) bool { return b.Service == "" }) {
		own = append([]budget{{Cap: standard, Action: usagepb.BudgetAction_NOTIFY, Default: true}}, own...)
	}
	return own
}

// rated is what of the figures has a price.
func rated(a amounts) rating.Usage {
	return rating.Usage{
		Calls: a.Calls, CPUMilliSeconds: a.CPUMilliSeconds, MemoryMiBSeconds: a.MemoryMiBSeconds,
		StoredByteHours: a.StoredByteHours, EgressBytes: a.EgressBytes, BuildSeconds: a.BuildSeconds,
	}
}
