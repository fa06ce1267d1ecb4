package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/grpc"

	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pgtest"
	"github.com/micro/platform/internal/redistest"
	"github.com/micro/platform/internal/seal"
	brokerpb "github.com/micro/platform/proto/broker"
	configpb "github.com/micro/platform/proto/config"
	"github.com/micro/platform/services/broker"
	"github.com/micro/platform/services/config"
)

// TestScriptsWithConfig runs the commands of settings and messages against the
// real config and broker.
func TestScriptsWithConfig(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/config",
		Setup: func(e *testscript.Env) error {
			address, stop, err := startConfig(t)
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

// startConfig serves config and broker to an operator.
func startConfig(t *testing.T) (address string, stop func(), err error) {
	box, err := seal.New(pgtest.Secret, "config")
	if err != nil {
		return "", nil, err
	}
	log := slog.New(slog.DiscardHandler)
	settings := config.New(pgtest.New(t, "config"), box, log, config.Options{MaxBytes: 1 << 20, MaxValues: 1000, History: 10, Watchers: 10})
	if err := settings.Prepare(t.Context()); err != nil {
		return "", nil, err
	}
	messages := broker.New(redistest.New(t), log, broker.Options{Subscribers: 10, Buffer: 100, BufferBytes: 1 << 20})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	as := func(ctx context.Context) context.Context {
		return identity.With(ctx, identity.Caller{ID: "jane", Type: identity.User, Namespace: identity.Platform, Scopes: []string{"admin"}})
	}
	s := grpc.NewServer(
		grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			return handle(as(ctx), req)
		}),
		grpc.StreamInterceptor(func(srv any, st grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			return handle(srv, memberStream{st, as(st.Context())})
		}),
	)
	configpb.RegisterConfigServer(s, settings)
	brokerpb.RegisterBrokerServer(s, messages)
	ctx, cancel := context.WithCancel(context.Background())
	go s.Serve(l)           //nolint:errcheck // it ends with the test
	go settings.Listen(ctx) //nolint:errcheck // likewise
	go messages.Listen(ctx) //nolint:errcheck // likewise
	return l.Addr().String(), func() { s.Stop(); cancel() }, nil
}
