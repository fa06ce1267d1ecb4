package main

import (
	"context"
	"net"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/grpc"

	"github.com/micro/platform/internal/identity"
)

// startFunc registers real components at a server. stop ends them.
type startFunc func(t *testing.T, s *grpc.Server) (stop func(), err error)

// componentScripts runs the scripts in a directory of testdata, each against
// components of its own, as an admin of the namespace that named answers.
func componentScripts(t *testing.T, dir string, named func() string, start startFunc) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/" + dir,
		Setup: func(e *testscript.Env) error {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			s := serverFor(identity.Caller{ID: "jane", Type: identity.User, Namespace: named(), Scopes: []string{"admin"}})
			stop, err := start(t, s)
			if err != nil {
				return err
			}
			go s.Serve(l) //nolint:errcheck // ends by Stop
			e.Defer(func() { s.Stop(); stop() })
			e.Setenv("HOME", e.WorkDir+"/home")
			e.Setenv("MICRO_PROXY", l.Addr().String())
			e.Setenv("MICRO_TOKEN", "a.b.c")
			return os.Mkdir(e.WorkDir+"/home", 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// serverFor is a server all of whose calls are one caller's.
func serverFor(caller identity.Caller) *grpc.Server {
	return grpc.NewServer(
		grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			return handle(identity.With(ctx, caller), req)
		}),
		grpc.StreamInterceptor(func(srv any, st grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			return handle(srv, callerStream{st, identity.With(st.Context(), caller)})
		}),
	)
}

type callerStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s callerStream) Context() context.Context { return s.ctx }
