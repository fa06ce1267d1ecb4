package auth

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	authpb "github.com/micro/platform/proto/auth"
)

// TestExplain shows which checks are made about a call, in order, and that only
// admins of the namespace are told.
func TestExplain(t *testing.T) {
	t.Parallel()
	p := setup(t)
	ctx := p.asOwner(t)
	for _, r := range []*authpb.Rule{newRule("editors", "editor", 5), {Id: "no-delete", Scope: "*", Priority: 9, Access: authpb.Access_DENIED,
		Resource: &authpb.Resource{Type: "service", Name: "notes", Endpoint: "Notes.Delete"}}} {
		if _, err := p.rules.Create(ctx, &authpb.CreateRequest{Rule: r}); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ account, service, endpoint, want string }{
		{"owner@" + "x", "notes", "Notes.List", "false account-"},
		{"OWNER", "notes", "Notes.List", "true account+ role+ rules+ editors default!"},
		{"OWNER", "notes", "Notes.Delete", "false account+ role+ rules- no-delete! editors default"},
		{"", "notes", "Notes.List", "false rules- editors default"},
		{"OWNER", "auth", "Rules.Create", "true account+ role+"},
		{"", "auth", "Rules.Create", "false role-"},
		{"", "auth", "Auth.Token", "true role+"},
	} {
		account := strings.ReplaceAll(tt.account, "OWNER", p.owner)
		rsp, err := p.rules.Explain(ctx, &authpb.ExplainRequest{Account: account, Service: tt.service, Endpoint: tt.endpoint})
		if err != nil {
			t.Errorf("%s %s %s: %v", account, tt.service, tt.endpoint, err)
			continue
		}
		got := fmt.Sprint(rsp.GetAllowed())
		for _, c := range rsp.GetChecks() {
			got += " " + c.GetName() + map[bool]string{true: "+", false: "-"}[c.GetPassed()]
		}
		for _, r := range rsp.GetRules() {
			got += " " + r.GetRule().GetId() + map[bool]string{true: "!"}[r.GetDecides()]
		}
		if got != tt.want {
			t.Errorf("%s %s %s: %s, want %s (%v)", account, tt.service, tt.endpoint, got, tt.want, rsp)
		}
	}
	for name, req := range map[string]*authpb.ExplainRequest{
		"service":  {Endpoint: "Notes.List"},
		"endpoint": {Service: "notes"},
		"token":    {Service: "notes", Endpoint: "Notes.List", Token: "website"},
	} {
		if _, err := p.rules.Explain(ctx, req); errors.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	if _, err := p.rules.Explain(ctx, &authpb.ExplainRequest{Service: "notes", Endpoint: "Notes.List", Options: namespace("another")}); errors.Code(err) != codes.PermissionDenied {
		t.Errorf("of another namespace: %v", err)
	}
	if _, err := p.rules.Explain(t.Context(), &authpb.ExplainRequest{Service: "notes", Endpoint: "Notes.List"}); errors.Code(err) != codes.Unauthenticated {
		t.Errorf("as nobody: %v", err)
	}
}
