package main

import (
	"log/slog"
	"testing"
	"time"

	"gocloud.dev/blob/memblob"
	"google.golang.org/grpc"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/internal/redistest"
	"github.com/micro/platform/internal/tenants"
	storepb "github.com/micro/platform/proto/store"
	"github.com/micro/platform/services/store"
)

// TestScriptsWithStore runs the commands of records against the real store, in
// a namespace of their own.
func TestScriptsWithStore(t *testing.T) {
	t.Parallel()
	componentScripts(t, "store", func() string { return redistest.Namespace(t) }, startStore)
}

// startStore serves the store to a member of a namespace.
func startStore(t *testing.T, s *grpc.Server) (stop func(), err error) {
	svc := store.New(redistest.New(t), memblob.OpenBucket(nil), tenants.Fixed(plans.Limits{Keys: plans.Unlimited, StoreBytes: plans.Unlimited, ValueBytes: plans.Unlimited}), slog.New(slog.DiscardHandler), store.Options{
		MaxValue: 1 << 20, MaxKeys: 1000, MaxBytes: 1 << 20, MaxTables: 5, Sweep: time.Second,
		MaxBlob: 1 << 20, MaxBlobs: 10, MaxBlobBytes: 4 << 20,
	})
	storepb.RegisterStoreServer(s, svc)
	storepb.RegisterBlobStoreServer(s, svc.Blobs())
	return func() {}, nil
}
