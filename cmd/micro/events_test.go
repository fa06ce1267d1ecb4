package main

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/internal/rate"
	"github.com/micro/platform/internal/redistest"
	"github.com/micro/platform/internal/tenants"
	"github.com/micro/platform/services/events"
)

// TestScriptsWithEvents runs the commands of events against the real events, in
// a namespace of their own.
func TestScriptsWithEvents(t *testing.T) {
	t.Parallel()
	componentScripts(t, "events", func() string { return redistest.Namespace(t) }, startEvents)
}

// startEvents serves events to an admin of a namespace.
func startEvents(t *testing.T, s *grpc.Server) (stop func(), err error) {
	log := slog.New(slog.DiscardHandler)
	limiter := rate.New(redistest.New(t), log)
	limits := tenants.Fixed(plans.Limits{Topics: 3, EventRate: plans.Unlimited, EventRetention: plans.Unlimited, EventBytes: plans.Unlimited})
	svc := events.New(redistest.New(t), limits, limiter, log, events.Options{MaxAge: time.Hour, MaxBytes: 1 << 20, MaxGroups: 5, MaxConsumers: 5, Sweep: time.Hour, Scan: time.Second})
	svc.Register(s)
	ctx, cancel := context.WithCancel(t.Context())
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return limiter.Run(ctx) })
	g.Go(func() error { return svc.Run(ctx) })
	return func() {
		cancel()
		g.Wait() //nolint:errcheck // it is at its end
	}, nil
}
