package store_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"gocloud.dev/blob/memblob"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/framework/client"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/framework/store"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/redistest"
	"github.com/micro/platform/internal/tenants"
	storepb "github.com/micro/platform/proto/store"
	platform "github.com/micro/platform/services/store"
)

// start serves the platform's store to a service, and answers its client.
func start(t *testing.T) client.Client {
	t.Helper()
	ns := redistest.Namespace(t)
	as := func(ctx context.Context) context.Context {
		if md, _ := metadata.FromIncomingContext(ctx); strings.Join(md.Get("authorization"), "") != "Bearer own" {
			return ctx
		}
		return identity.With(ctx, identity.Caller{ID: "shop-1", Type: identity.Service, Namespace: ns, Scopes: []string{"service"}})
	}
	s := grpc.NewServer(
		grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			return handle(as(ctx), req)
		}),
		grpc.StreamInterceptor(func(srv any, st grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			return handle(srv, memberStream{st, as(st.Context())})
		}),
	)
	svc := platform.New(redistest.New(t), memblob.OpenBucket(nil), tenants.Fixed(plans.Limits{Keys: plans.Unlimited, StoreBytes: plans.Unlimited, ValueBytes: plans.Unlimited}), slog.New(slog.DiscardHandler), platform.Options{
		MaxValue: 1 << 20, MaxKeys: 1000, MaxBytes: 4 << 20, MaxTables: 5, MaxBlob: 1 << 20, MaxBlobs: 10, MaxBlobBytes: 4 << 20,
	})
	storepb.RegisterStoreServer(s, svc)
	storepb.RegisterBlobStoreServer(s, svc.Blobs())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l) //nolint:errcheck // it ends with the test
	t.Cleanup(s.Stop)
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return client.New(conn, client.Options{Namespace: ns, Token: func(context.Context) (string, error) { return "own", nil }})
}

type memberStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s memberStream) Context() context.Context { return s.ctx }

type order struct{ Name string }

func TestRecords(t *testing.T) {
	t.Parallel()
	s := store.New(start(t), store.Table("shop"))
	if _, err := s.Read("a"); err != store.ErrNotFound {
		t.Fatalf("Read of nothing = %v", err)
	}
	r := store.NewRecord("a", order{"tea"})
	r.Metadata, r.Expiry = map[string]any{"n": 7}, time.Hour
	if err := s.Write(r); err != nil {
		t.Fatal(err)
	}
	got, err := s.Read("a")
	if err != nil {
		t.Fatal(err)
	}
	var o order
	if err := got[0].Decode(&o); err != nil || o.Name != "tea" || got[0].Metadata["n"] != "7" || got[0].Version != r.Version ||
		got[0].Expiry > time.Hour || got[0].Expiry < time.Hour-time.Minute {
		t.Errorf("Read = %+v, %v, %v", got[0], o, err)
	}
	if err := s.Write(r, store.IfAbsent()); errors.Code(err) != codes.AlreadyExists {
		t.Errorf("IfAbsent = %v", err)
	}
	if err := s.Write(r, store.IfVersion(r.Version+1)); errors.Code(err) != codes.FailedPrecondition {
		t.Errorf("IfVersion = %v", err)
	}
	if err := s.Delete("a", store.IfVersion(0)); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("IfVersion of no version = %v", err)
	}
	if err := s.Delete("a"); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(store.NewRecord("f", func() {})); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("Write of what JSON cannot hold = %v", err)
	}
}

func TestListings(t *testing.T) {
	t.Parallel()
	s := store.New(start(t))
	for _, key := range []string{"a/1", "a/2", "a/3", "b/1"} {
		if err := s.Write(store.NewRecord(key, key)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		opts []store.Option
		want string
	}{
		{"all", nil, "a/1 a/2 a/3 b/1"},
		{"prefix", []store.Option{store.ListPrefix("a/"), store.OrderBy(store.OrderDesc)}, "a/3 a/2 a/1"},
		{"suffix", []store.Option{store.ListSuffix("/1")}, "a/1 b/1"},
		{"page", []store.Option{store.Limit(2), store.Offset(1)}, "a/2 a/3"},
		{"next page", []store.Option{store.Limit(2), store.After("a/2")}, "a/3 b/1"},
		{"other table", []store.Option{store.Table("other")}, ""},
	} {
		if got, err := s.List(tt.opts...); err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("%s: List = %q, %v, want %q", tt.name, got, err, tt.want)
		}
	}
	got, err := s.Read("a/", store.Prefix(), store.Limit(2), store.OrderBy(store.OrderDesc))
	if err != nil || len(got) != 2 || got[0].Key != "a/3" || string(got[1].Value) != `"a/2"` {
		t.Errorf("Read of a prefix = %v, %v", got, err)
	}
	if got, err := s.Read("/1", store.Suffix()); err != nil || len(got) != 2 {
		t.Errorf("Read of a suffix = %v, %v", got, err)
	}
}

// TestWhileHandling writes while somebody's call is handled: as the service.
func TestWhileHandling(t *testing.T) {
	t.Parallel()
	s := store.New(start(t))
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer caller"))
	if err := s.Write(store.NewRecord("a", 1), store.Context(ctx)); err != nil {
		t.Errorf("Write = %v", err)
	}
}

func TestBlobs(t *testing.T) {
	t.Parallel()
	b := store.NewBlobs(start(t))
	var o store.BlobOptions
	if _, err := b.Read("k", o); err != store.ErrNotFound {
		t.Errorf("Read of nothing = %v", err)
	}
	for _, size := range []int{0, 1, 64 << 10, 200_000} {
		want := bytes.Repeat([]byte("x"), size)
		if err := b.Write("k", bytes.NewReader(want), o); err != nil {
			t.Fatal(err)
		}
		r, err := b.Read("k", o)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, want) || r.Close() != nil {
			t.Errorf("a blob of %d bytes is one of %d, %v", size, len(got), err)
		}
	}
	if err := b.Write("k", io.MultiReader(strings.NewReader("half"), broken{}), o); err != errBroken {
		t.Errorf("Write of what breaks off = %v", err)
	}
	if err := b.Write("large", io.LimitReader(zeros{}, 2<<20), o); errors.Code(err) != codes.ResourceExhausted {
		t.Errorf("Write of too much = %v", err)
	}
	if keys, err := b.List("", o); err != nil || !slices.Equal(keys, []string{"k"}) {
		t.Errorf("List = %q, %v", keys, err)
	}
	if err := b.Delete("k", o); err != nil {
		t.Fatal(err)
	}
	if keys, err := b.List("", o); err != nil || len(keys) != 0 {
		t.Errorf("List = %q, %v", keys, err)
	}
}

type broken struct{}

var errBroken = io.ErrNoProgress

func (broken) Read([]byte) (int, error) { return 0, errBroken }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestNoService asks for the store of a service that there is not.
func TestNoService(t *testing.T) {
	if _, err := store.Read("a"); errors.Code(err) != codes.FailedPrecondition {
		t.Errorf("Read = %v", err)
	}
}
