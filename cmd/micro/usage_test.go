package main

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/meter"
	"github.com/micro/platform/internal/pgtest"
	"github.com/micro/platform/internal/tenants"
	namespacespb "github.com/micro/platform/proto/namespaces"
	usageservice "github.com/micro/platform/services/usage"
)

// TestScriptsWithUsage runs the commands of usage against the real service, which
// has folded a few calls of an edge.
func TestScriptsWithUsage(t *testing.T) {
	t.Parallel()
	componentScripts(t, "usage", func() string { return "acme" }, startUsage)
}

// prices is component namespaces as far as it is asked for prices.
type prices struct{ grpc.ClientConnInterface }

// Invoke implements grpc.ClientConnInterface.
func (prices) Invoke(_ context.Context, _ string, _, out any, _ ...grpc.CallOption) error {
	if rsp, ok := out.(*namespacespb.ListPlansResponse); ok {
		rsp.Plans = []*namespacespb.Plan{{Id: "fixed", Price: &namespacespb.Price{Currency: "EUR", Units: map[string]int64{"million_requests": 100}}}}
	}
	return nil
}

// startUsage serves usage to an admin of namespace acme.
func startUsage(t *testing.T, s *grpc.Server) (stop func(), err error) {
	log := slog.New(slog.DiscardHandler)
	svc := usageservice.New(pgtest.New(t, "usage"), prices{}, nil, log, usageservice.Options{Budget: 10_000, MaxBudgets: 3})
	svc.Follow(tenants.Fixed(plans.Limits{Requests: 1_000_000}))
	svc.Register(s)
	calls, err := meter.Open(meter.Options{Dir: t.TempDir()}, log)
	if err != nil {
		return nil, err
	}
	day := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i, class := range []meter.Class{meter.OK, meter.OK, meter.ClientError, meter.Refused} {
		calls.Append(&meter.Record{At: day.AddDate(0, 0, i/2), Namespace: "acme", Service: "greeter", Endpoint: "Greeter.Hello", Account: "jane",
			Class: class, Ended: true, BytesIn: 10, BytesOut: 100})
	}
	calls.Append(&meter.Record{At: day, Namespace: "acme", Service: "store", Class: meter.OK, Ended: true})
	calls.Close(identity.With(t.Context(), identity.Caller{ID: "proxy", Type: identity.Component, Namespace: identity.Platform}), svc.Append)
	return func() {}, nil
}
