package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"gocloud.dev/blob/memblob"
	"google.golang.org/grpc"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/redistest"
	"github.com/micro/platform/internal/tenants"
	storepb "github.com/micro/platform/proto/store"
	"github.com/micro/platform/services/store"
)

// TestScriptsWithStore runs the commands of records against the real store, in
// a namespace of their own.
func TestScriptsWithStore(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/store",
		Setup: func(e *testscript.Env) error {
			address, stop, err := startStore(t, redistest.Namespace(t))
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

// startStore serves the store to a member of a namespace.
func startStore(t *testing.T, namespace string) (address string, stop func(), err error) {
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
	svc := store.New(redistest.New(t), memblob.OpenBucket(nil), tenants.Fixed(plans.Limits{Keys: plans.Unlimited, StoreBytes: plans.Unlimited, ValueBytes: plans.Unlimited}), slog.New(slog.DiscardHandler), store.Options{
		MaxValue: 1 << 20, MaxKeys: 1000, MaxBytes: 1 << 20, MaxTables: 5, Sweep: time.Second,
		MaxBlob: 1 << 20, MaxBlobs: 10, MaxBlobBytes: 4 << 20,
	})
	storepb.RegisterStoreServer(s, svc)
	storepb.RegisterBlobStoreServer(s, svc.Blobs())
	go s.Serve(l) //nolint:errcheck // it ends with the test
	return l.Addr().String(), s.Stop, nil
}

type memberStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s memberStream) Context() context.Context { return s.ctx }
