package events

import (
	"context"
	"time"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/internal/rate"
	"github.com/micro/platform/internal/tenants"
)

// burst is how many events a namespace may publish at once after a pause, whose
// rate is less: as many as the framework puts in one call.
const burst = 250

// limits are what a namespace may take: what its plan gives, and no more than
// the server.
type limits struct {
	tenants *tenants.Tenants
	rates   *rate.Limiter
	opts    Options
}

// least is the lesser of a plan's limit and the server's, where 0 is none.
func least(plan plans.Limit, server int) plans.Limit {
	if server > 0 && !plan.Allows(int64(server)) {
		return plan
	}
	if server > 0 {
		return plans.Limit(server)
	}
	return plan
}

// publish says whether a namespace may publish n events now, of all processes
// together.
func (l limits) publish(ctx context.Context, namespace string, n int) error {
	t, err := l.tenants.Of(ctx, namespace)
	if err != nil {
		return err
	}
	limit := least(t.Limits.EventRate, l.opts.Rate)
	if limit.Unlimited() {
		return nil
	}
	most := max(int64(limit), burst)
	met := plans.Met{Plan: t.Plan, Limit: "event_rate", Most: limit, Window: time.Second}
	if limit == 0 || int64(n) > most {
		met.Remedy = "publish fewer at once"
		return plans.Over(met, "namespace %q may publish %d events a second, and %d at once", namespace, limit, most)
	}
	if l.rates.TakeN(ctx, int64(n), rate.Limit{Key: rate.Key{Namespace: namespace, Kind: "events"}, Rate: int64(limit), Burst: most}) != nil {
		met.Remedy = "try again in a second"
		return plans.Over(met, "namespace %q may publish %d events a second", namespace, limit)
	}
	return nil
}

// topics is how many topics a namespace may have.
func (l limits) topics(ctx context.Context, namespace string) (plans.Limit, error) {
	t, err := l.tenants.Of(ctx, namespace)
	if err != nil {
		return 0, err
	}
	return least(t.Limits.Topics, l.opts.MaxTopics), nil
}

// bytes is how much a namespace's topics may take, and the plan that says so.
func (l limits) bytes(ctx context.Context, namespace string) (plans.Limit, string, error) {
	t, err := l.tenants.Of(ctx, namespace)
	if err != nil {
		return 0, "", err
	}
	return t.Limits.EventBytes, t.Plan, nil
}

// age is how long a namespace's events are kept.
func (l limits) age(ctx context.Context, namespace string) (time.Duration, error) {
	t, err := l.tenants.Of(ctx, namespace)
	if err != nil {
		return 0, err
	}
	return min(l.opts.MaxAge, t.Limits.EventRetention.Duration()), nil
}
