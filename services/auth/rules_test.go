package auth

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/pgtest"
	authpb "github.com/micro/platform/proto/auth"
)

func newRule(id, scope string, priority int32) *authpb.Rule {
	return &authpb.Rule{Id: id, Scope: scope, Priority: priority, Access: authpb.Access_GRANTED,
		Resource: &authpb.Resource{Type: "service", Name: "notes", Endpoint: "*"}}
}

// list is the ids and scopes of the namespace's rules.
func (p *platform) list(t testing.TB) string {
	t.Helper()
	rsp, err := p.rules.List(p.asOwner(t), &authpb.ListRequest{Options: namespace(p.namespace)})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range rsp.GetRules() {
		out = append(out, r.GetId()+"="+r.GetScope())
	}
	return strings.Join(out, " ")
}

func TestRules(t *testing.T) {
	t.Parallel()
	p := setup(t)
	ctx := p.asOwner(t)
	create := func(r *authpb.Rule) error {
		_, err := p.rules.Create(ctx, &authpb.CreateRequest{Rule: r, Options: namespace("micro")})
		return err
	}
	remove := func(id string) error {
		_, err := p.rules.Delete(ctx, &authpb.DeleteRequest{Id: id})
		return err
	}
	for i, step := range []struct {
		do    func() error
		error string
		want  string // the rules after it
	}{
		{func() error { return nil }, "", "default=*"},
		{func() error { return remove("default") }, "holds while", "default=*"},
		{func() error { return create(newRule("open", "", 1)) }, "", "open= default=*"},
		{func() error { return create(newRule("open", "x", 1)) }, "A rule with this ID already exists", "open= default=*"},
		{func() error { return create(newRule("a", "+", 0)) }, "", "open= a=+ default=*"},
		{func() error { return remove("default") }, "", "open= a=+"},
		{func() error { return remove("absent") }, "Rule not found", "open= a=+"},
		{func() error { return create(newRule("default", "editor", 0)) }, "", "open= a=+ default=editor"},
		{func() error { return remove("open") }, "", "a=+ default=editor"},
		{func() error { return remove("a") }, "", "default=editor"},
		{func() error { return remove("default") }, "", "default=*"},
		{func() error { return remove("") }, "ID missing", "default=*"},
	} {
		err := step.do()
		if step.error == "" && err != nil || step.error != "" && (err == nil || !strings.Contains(err.Error(), step.error)) {
			t.Fatalf("step %d: %v, want %q", i, err, step.error)
		}
		if got := p.list(t); got != step.want {
			t.Fatalf("step %d: rules %q, want %q", i, got, step.want)
		}
	}
}

func TestRuleIsChecked(t *testing.T) {
	t.Parallel()
	p := setup(t)
	change := func(f func(*authpb.Rule)) *authpb.Rule {
		r := newRule("r", "", 0)
		f(r)
		return r
	}
	for _, tt := range []struct {
		rule *authpb.Rule
		want string
	}{
		{nil, "Rule missing"},
		{change(func(r *authpb.Rule) { r.Id = "" }), "ID missing"},
		{change(func(r *authpb.Rule) { r.Resource = nil }), "Resource missing"},
		{change(func(r *authpb.Rule) { r.Access = authpb.Access_UNKNOWN }), "Access missing"},
		{change(func(r *authpb.Rule) { r.Access = 7 }), "access is 7: GRANTED"},
		{change(func(r *authpb.Rule) { r.Id = "a\x00" }), "an id must"},
		{change(func(r *authpb.Rule) { r.Scope = "a b" }), "a scope must"},
		{change(func(r *authpb.Rule) { r.Resource.Type = "topic" }), `resource type is "topic": service and *`},
		{change(func(r *authpb.Rule) { r.Resource.Type = "" }), `resource type is "": service and *`},
		{change(func(r *authpb.Rule) { r.Resource.Name = "" }), "resource name must"},
		{change(func(r *authpb.Rule) { r.Resource.Name = "a\x1b[2J" }), "resource name must"},
		{change(func(r *authpb.Rule) { r.Resource.Endpoint = strings.Repeat("x", maxPart+1) }), "resource endpoint must"},
	} {
		_, err := p.rules.Create(p.asOwner(t), &authpb.CreateRequest{Rule: tt.rule})
		if e := errors.FromError(err); e == nil || e.HTTP != 400 || !strings.Contains(e.Detail, tt.want) {
			t.Errorf("Create = %v, want %s", err, tt.want)
		}
	}
}

func TestRulesAreBounded(t *testing.T) {
	t.Parallel()
	p := setupAt(t, pgtest.URL(t), map[string]string{"MICRO_AUTH_MAX_RULES": "3"})
	for i := range 3 {
		_, err := p.rules.Create(p.asOwner(t), &authpb.CreateRequest{Rule: newRule(fmt.Sprint(i), "", 0)})
		if want := map[bool]codes.Code{true: codes.OK, false: codes.ResourceExhausted}[i < 2]; errors.Code(err) != want {
			t.Errorf("rule %d beside the default: %v, want %v", i+1, err, want)
		}
	}
}

// TestPlatformDefault shows that the platform's own namespace is open only when
// that was asked for.
func TestPlatformDefault(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]string{"true": "", "false": "*"} {
		p := setupAt(t, pgtest.URL(t), map[string]string{"MICRO_AUTH_PUBLIC_PLATFORM": setting})
		rsp, err := p.rules.List(p.asOperator(t), &authpb.ListRequest{})
		if err != nil || len(rsp.GetRules()) != 1 || rsp.GetRules()[0].GetScope() != want {
			t.Errorf("public %s: List = %v, %v; want scope %q", setting, rsp, err, want)
		}
		if got := p.list(t); got != "default=*" {
			t.Errorf("public %s: a tenant has %q", setting, got)
		}
	}
}
