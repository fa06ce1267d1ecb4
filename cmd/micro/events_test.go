package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/rate"
	"github.com/micro/platform/internal/redistest"
	"github.com/micro/platform/internal/tenants"
	"github.com/micro/platform/services/events"
)

// TestScriptsWithEvents runs the commands of events against the real events, in
// a namespace of their own.
func TestScriptsWithEvents(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/events",
		Setup: func(e *testscript.Env) error {
			address, stop, err := startEvents(t, redistest.Namespace(t))
			if err != nil {
				return err
			}
			e.Defer(stop)
			e.Setenv("HOME", e.WorkDir+"/home")
			e.Setenv("MICRO_PROXY", address)
			e.Setenv("MICRO_TOKEN", "a.b.c")
			return os.Mkdir(e.WorkDir+"/home", 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// startEvents serves events to an admin of a namespace.
func startEvents(t *testing.T, namespace string) (address string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	as := func(ctx context.Context) context.Context {
		return identity.With(ctx, identity.Caller{ID: "jane", Type: identity.User, Namespace: namespace, Scopes: []string{"admin"}})
	}
	s := grpc.NewServer(
		grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			return handle(as(ctx), req)
		}),
		grpc.StreamInterceptor(func(srv any, st grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			return handle(srv, memberStream{st, as(st.Context())})
		}),
	)
	log := slog.New(slog.DiscardHandler)
	limiter := rate.New(redistest.New(t), log)
	limits := tenants.Fixed(plans.Limits{Topics: 3, EventRate: plans.Unlimited, EventRetention: plans.Unlimited, EventBytes: plans.Unlimited})
	svc := events.New(redistest.New(t), limits, limiter, log, events.Options{MaxAge: time.Hour, MaxBytes: 1 << 20, MaxGroups: 5, MaxConsumers: 5, Sweep: time.Hour, Scan: time.Second})
	svc.Register(s)
	ctx, cancel := context.WithCancel(t.Context())
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return limiter.Run(ctx) })
	g.Go(func() error { return svc.Run(ctx) })
	go s.Serve(l) //nolint:errcheck // it ends with the test
	return l.Addr().String(), func() {
		s.Stop()
		cancel()
		g.Wait() //nolint:errcheck // it is at its end
	}, nil
}
