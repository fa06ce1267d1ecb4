package namespaces

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	namespacespb "github.com/micro/platform/proto/namespaces"
)

// TestSearch finds namespaces by a part of their name or owner, for operators
// and nobody else, page by page.
func TestSearch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signup(t, "olga@example.com", "acme")
	b.signup(t, "piet@example.com", "piets")
	b.signup(t, "anna@other.org", "acorn")
	root := as(t, identity.Platform)
	if _, err := (plansAPI{Service: b.Service}).Suspend(root, &namespacespb.SuspendRequest{Namespace: "piets", Reason: "spam"}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		req  *namespacespb.SearchRequest
		want []string
	}{
		{&namespacespb.SearchRequest{}, []string{"acme", "acorn", "piets"}},
		{&namespacespb.SearchRequest{Text: "ac"}, []string{"acme", "acorn"}},
		{&namespacespb.SearchRequest{Text: "Example.com"}, []string{"acme", "piets"}},
		{&namespacespb.SearchRequest{Text: "%"}, nil},
		{&namespacespb.SearchRequest{Limit: 1, After: "acme"}, []string{"acorn"}},
	} {
		rsp, err := b.Search(root, tt.req)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range rsp.GetNamespaces() {
			got = append(got, f.GetNamespace())
			if suspended := f.GetSuspended() == "spam"; suspended != (f.GetNamespace() == "piets") || f.GetPlan() == "" || f.GetCreated() == 0 {
				t.Errorf("%v", f)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%v found %v, want %v", tt.req, got, tt.want)
		}
	}
	if _, err := b.Search(as(t, "acme"), &namespacespb.SearchRequest{}); errors.Code(err) != codes.PermissionDenied {
		t.Errorf("a tenant: %v", err)
	}
	for _, bad := range []*namespacespb.SearchRequest{{Text: strings.Repeat("x", maxSearch+1)}, {Limit: -1}, {Limit: maxPage + 1}} {
		if _, err := b.Search(root, bad); errors.Code(err) != codes.InvalidArgument {
			t.Errorf("%v: %v", bad, err)
		}
	}
}
