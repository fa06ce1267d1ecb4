package store

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"gocloud.dev/blob/fileblob"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/redistest"
	storepb "github.com/micro/platform/proto/store"
)

// TestErase removes tables, blobs and what is noted of objects, in parts, and
// nothing of another namespace.
func TestErase(t *testing.T) {
	t.Parallel()
	s, ns := setup(t, func(o *Options) { o.MaxTables, o.MaxBlobs = 1000, 1000 })
	other, dir := redistest.Namespace(t), t.TempDir()
	bucket, err := fileblob.OpenBucket(dir, &fileblob.Options{NoTempDir: true, Metadata: fileblob.MetadataDontWrite})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bucket.Close() })
	s.bucket = bucket
	const n = erasePage + 7
	for i := range n {
		_, err := s.Write(as(t, ns), &storepb.WriteRequest{Record: &storepb.Record{Key: "k"}, Options: &storepb.WriteOptions{Table: fmt.Sprint("t", i)}})
		if err != nil {
			t.Fatal(err)
		}
		if err := writeBlob(s, as(t, ns), fmt.Sprint("b", i), nil, "blob"); err != nil {
			t.Fatal(err)
		}
	}
	write(t, s, as(t, other), "k", "kept")
	if err := writeBlob(s, as(t, other), "b", nil, "kept"); err != nil {
		t.Fatal(err)
	}
	// What a crash has left of a blob in the making.
	if err := s.db.note(t.Context(), blobIndex(ns), garbage{objectPath + ns + "/x", "x"}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, objectPath, ns, "x.tmp"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}

	api := componentsAPI{s: s, dir: dir}
	component := identity.With(t.Context(), identity.Caller{ID: "namespaces", Type: identity.Component, Namespace: identity.Platform})
	for who, err := range map[string]error{
		"a service":   func() error { _, err := api.Erase(as(t, ns), &storepb.EraseRequest{Namespace: ns}); return err }(),
		"an operator": func() error { _, err := api.Erase(asOperator(t), &storepb.EraseRequest{Namespace: ns}); return err }(),
	} {
		if errors.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: %v, want PermissionDenied", who, err)
		}
	}
	calls := 0
	for done := false; !done; calls++ {
		rsp, err := api.Erase(component, &storepb.EraseRequest{Namespace: ns})
		if err != nil || calls > 10 {
			t.Fatalf("call %d: %v", calls, err)
		}
		done = rsp.GetDone()
	}
	if rsp, err := api.Erase(component, &storepb.EraseRequest{Namespace: ns}); err != nil || !rsp.GetDone() || calls < 3 {
		t.Errorf("once more after %d calls: %v, %v", calls, rsp, err)
	}
	keys := s.db.redis.Scan(t.Context(), 0, "store:{"+ns+"*", 1000).Iterator()
	for keys.Next(t.Context()) {
		if s.db.redis.TTL(t.Context(), keys.Val()).Val() <= 0 { // what is left of a table goes after a minute
			t.Errorf("left: %s", keys.Val())
		}
	}
	if s.db.redis.SIsMember(t.Context(), namespacesKey, ns).Val() {
		t.Error("the namespace is still listed")
	}
	if _, err := os.Stat(filepath.Join(dir, objectPath, ns)); !os.IsNotExist(err) {
		t.Errorf("its folder is left: %v", err)
	}
	if got := read(t, s, as(t, other), "k", nil); len(got) != 1 || got[0] != "kept" {
		t.Errorf("the other namespace has %v", got)
	}
	if got, err := readBlob(s, as(t, other), "b"); err != nil || got != "kept" {
		t.Errorf("the other namespace's blob: %q, %v", got, err)
	}
}
