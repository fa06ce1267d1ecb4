package usage

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/billing/rating"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/mail"
	"github.com/micro/platform/internal/tenants"
	namespacespb "github.com/micro/platform/proto/namespaces"
)

const (
	// lookEvery is how often namespaces are looked at that have used something.
	lookEvery = time.Second
	// sweepEvery is how often those are that another process has counted for, or
	// whose month has ended.
	sweepEvery = 30 * time.Second
	// lookWithin bounds the look at one namespace.
	lookWithin = 10 * time.Second
	// pricesFor is how long prices are remembered.
	pricesFor = time.Minute
)

// keeper keeps namespaces within budgets and quotas: it compares what they have
// used this month with what they may, and tells component namespaces, which tells
// the edges.
type keeper struct {
	db       db
	log      *slog.Logger
	tenants  *tenants.Tenants // set before run
	plans    namespacespb.PlansClient
	owners   namespacespb.NamespacesClient
	throttle namespacespb.ComponentsClient
	mail     *mail.Outbox
	standard int64 // the default budget
	now      func() time.Time

	mu       sync.Mutex
	due      map[string]bool
	prices   map[string]plans.Price
	pricesAt time.Time
}

// mark has a namespace looked at.
func (k *keeper) mark(namespace string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if namespace != "" && namespace != identity.Platform {
		k.due[namespace] = true
	}
}

func (k *keeper) take() map[string]bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := k.due
	k.due = map[string]bool{}
	return out
}

// run looks at namespaces until ctx ends.
func (k *keeper) run(ctx context.Context) error {
	swept := time.Time{}
	return app.Every(ctx, lookEvery, func() {
		if now := time.Now(); now.Sub(swept) >= sweepEvery {
			swept = now
			if err := k.sweep(ctx); err != nil && ctx.Err() == nil {
				k.log.WarnContext(ctx, "namespaces are not looked through for budgets", "error", err)
			}
		}
		for namespace := range k.take() {
			if err := k.look(ctx, namespace); err != nil && ctx.Err() == nil {
				k.log.WarnContext(ctx, "a budget is not looked at", "namespace", namespace, "error", err)
				k.mark(namespace)
			}
		}
	})
}

// sweep marks what has changed lately, and what is held back.
func (k *keeper) sweep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	names, err := k.db.changedSince(ctx, k.now().Add(-2*sweepEvery))
	for _, n := range names {
		k.mark(n)
	}
	return err
}

// balance is what a namespace may use in a month, and has.
type balance struct {
	month   time.Time
	plan    string
	price   plans.Price
	limits  *plans.Limits
	budgets []budget // the namespace's first
	total   amounts
	of      map[string]amounts // by service
}

// spent answers what a service has cost, or all of them, in millionths.
func (b balance) spent(service string) int64 {
	if service == "" {
		return rating.Cost(rated(b.total), b.price)
	}
	return rating.Cost(rated(b.of[service]), b.price)
}

func (k *keeper) balance(ctx context.Context, namespace string) (balance, error) {
	t, err := k.tenants.Of(ctx, namespace)
	if err != nil {
		return balance{}, err
	}
	price, err := k.price(ctx, t.Plan)
	if err != nil {
		return balance{}, err
	}
	today := dayOf(k.now())
	b := balance{month: time.Date(today.Year(), today.Month(), 1, 0, 0, 0, 0, time.UTC), plan: t.Plan, price: price, limits: t.Limits, of: map[string]amounts{}}
	rows, err := k.db.month(ctx, namespace, b.month)
	if err != nil {
		return b, err
	}
	for _, r := range rows {
		b.total.add(r.amounts)
		b.of[r.Service] = r.amounts
	}
	own, err := k.db.budgets(ctx, namespace)
	b.budgets = withDefault(own, k.standard)
	return b, err
}

// price answers what a plan costs.
func (k *keeper) price(ctx context.Context, plan string) (plans.Price, error) {
	k.mu.Lock()
	known, fresh := k.prices, k.now().Sub(k.pricesAt) < pricesFor
	k.mu.Unlock()
	if fresh {
		return known[plan], nil
	}
	rsp, err := k.plans.List(identity.AsComponent(ctx), &namespacespb.ListPlansRequest{})
	if err != nil {
		return plans.Price{}, errors.New(codes.Unavailable, "prices are not known at the moment, try again").Because(err)
	}
	prices := map[string]plans.Price{}
	for _, p := range rsp.GetPlans() {
		prices[p.GetId()] = plans.PriceOf(p.GetPrice().GetCurrency(), p.GetPrice().GetMonth(), p.GetPrice().GetUnits())
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.prices, k.pricesAt = prices, k.now()
	return prices[plan], nil
}

// look compares a namespace with its budgets and quotas, and sees to what follows.
func (k *keeper) look(ctx context.Context, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	b, err := k.balance(ctx, namespace)
	if err != nil {
		return err
	}
	if err := k.hold(ctx, namespace, b.holds()); err != nil {
		return err
	}
	return k.alert(ctx, namespace, b)
}

// hold has component namespaces told what holds a namespace back from now on, if
// that is something else than before.
func (k *keeper) hold(ctx context.Context, namespace string, want map[string]hold) error {
	told, err := k.db.throttles(ctx, namespace)
	if err != nil {
		return err
	}
	for service := range told {
		if _, still := want[service]; !still {
			want[service] = hold{}
		}
	}
	for service, h := range want {
		if told[service] == h {
			continue
		}
		_, err := k.throttle.SetThrottle(identity.AsComponent(ctx), &namespacespb.SetThrottleRequest{Namespace: namespace, Service: service, Action: h.Action, Reason: h.Reason})
		if errors.Code(err) == codes.NotFound { // it is gone
			h, err = hold{}, nil
		}
		if err != nil {
			return fmt.Errorf("hold back service %q of %s: %w", service, namespace, err)
		}
		if err := k.db.setThrottle(ctx, namespace, service, h); err != nil {
			return err
		}
		k.log.InfoContext(ctx, "a namespace is held back or let go", "namespace", namespace, "service", service, "action", h.Action.String())
	}
	return nil
}
