package store

import (
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	storepb "github.com/micro/platform/proto/store"
)

// TestSizes shows what namespaces keep, as their own view of it does.
func TestSizes(t *testing.T) {
	t.Parallel()
	s, ns := setup(t)
	ctx := as(t, ns)
	if _, err := s.Write(ctx, &storepb.WriteRequest{Record: &storepb.Record{Key: "k", Value: make([]byte, 1000)}}); err != nil {
		t.Fatal(err)
	}
	if err := writeBlob(s, ctx, "b", &storepb.BlobOptions{}, "blob"); err != nil {
		t.Fatal(err)
	}
	used, err := s.Usage(ctx, &storepb.UsageRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int64{}
	for _, l := range used.GetLimits() {
		want[l.GetName()] = l.GetUsed()
	}
	api := componentsAPI{s: s}
	component := identity.With(t.Context(), identity.Caller{ID: "usage", Type: identity.Component, Namespace: identity.Platform})
	var got *storepb.Size
	for after := ""; ; {
		rsp, err := api.Sizes(component, &storepb.SizesRequest{After: after})
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range rsp.GetNamespaces() {
			if after = x.GetNamespace(); after == ns {
				got = x
			}
		}
		if len(rsp.GetNamespaces()) == 0 {
			break
		}
	}
	if got.GetRecords() != want["bytes"] || got.GetBlobs() != want["blob_bytes"] || got.GetRecords() < 1000 || got.GetBlobs() < 4 {
		t.Errorf("%v, and its members read %v", got, want)
	}
	if _, err := api.Sizes(ctx, &storepb.SizesRequest{}); errors.Code(err) != codes.PermissionDenied {
		t.Errorf("asked by a member: %v", err)
	}
}
