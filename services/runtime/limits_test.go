package runtime

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/micro/platform/internal/grants"
	"github.com/micro/platform/internal/identity"
	runtimepb "github.com/micro/platform/proto/runtime"
)

// TestLimits shows which grants the account of each revision has: no more than
// the API token that deployed the code.
func TestLimits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.reconcile()
	token := func(texts ...string) context.Context {
		list, err := grants.ParseAll(texts)
		if err != nil {
			t.Fatal(err)
		}
		return identity.With(t.Context(), identity.Caller{ID: "alice", Type: identity.User, Namespace: "acme", Scopes: []string{"admin"}, Grants: list})
	}
	const deploy = "runtime:*:write"
	for _, step := range []struct {
		name   string
		as     context.Context
		source string // of an update; the first step creates
		want   string // grants; "-" is no limit
	}{
		{"created by a person", b.admin, "github.com/acme/foo", "-"},
		{"updated with a token, its source unnamed", token(deploy, "store:*:read"), "", deploy + " store:*:read"},
		{"then by a person, its source unnamed", b.admin, "", deploy + " store:*:read"},
		{"then with another token, its source unnamed", token(deploy, "*:*:read"), "", "runtime:*:write runtime:*:read store:*:read"},
		{"then with a token that has nothing of that", token("runtime:Runtime.Update:write"), "", "runtime:Runtime.Update:write runtime:Runtime.Update:read"},
		{"by a person with a source", b.admin, "github.com/acme/bar", "-"},
	} {
		service := &runtimepb.Resource{Service: &runtimepb.Service{Name: "foo", Source: step.source}}
		var number int64
		if step.name == "created by a person" {
			rsp, err := b.svc.Create(step.as, &runtimepb.CreateRequest{Resource: service, Options: &runtimepb.CreateOptions{}})
			if err != nil {
				t.Fatal(err)
			}
			number = rsp.GetRevision()
		} else {
			rsp, err := b.svc.Update(step.as, &runtimepb.UpdateRequest{Resource: service})
			if err != nil {
				t.Fatal(err)
			}
			number = rsp.GetRevision()
		}
		b.settled("foo", running)
		b.world.mu.Lock()
		got, made := b.world.grants[strconv.FormatInt(number, 10)]
		b.world.mu.Unlock()
		if got == "" {
			got = "-"
		}
		got, always := strings.CutPrefix(got, strings.Join(standing, " ")+" ")
		if !made || got != step.want || always != (step.want != "-") {
			t.Errorf("%s: the account has %q, want %q", step.name, got, step.want)
		}
	}
}

// TestNothingLeft shows that limits which have nothing in common are not none.
func TestNothingLeft(t *testing.T) {
	t.Parallel()
	left, err := narrow([]string{"notes:*:write"}, []string{"lists:*:write"})
	if err != nil || left == nil || len(left) != 0 {
		t.Fatalf("narrow = %v, %v", left, err)
	}
	if got := accountMetadata(map[string]string{}, spec{Grants: left})["grants"]; got != strings.Join(standing, " ") {
		t.Errorf("the account has %q", got)
	}
	b := setup(t)
	k := key{"acme", "foo", "latest"}
	for _, want := range [][]string{nil, {}, {"notes:*:read"}} {
		sealed, err := b.svc.sealSpec(k, spec{Grants: want})
		if err != nil {
			t.Fatal(err)
		}
		if sp, err := b.svc.openSpec(k, sealed); err != nil || (sp.Grants == nil) != (want == nil) || len(sp.Grants) != len(want) {
			t.Errorf("%v is read as %v, %v", want, sp.Grants, err)
		}
	}
	if _, err := narrow([]string{"garbage"}, []string{"lists:*:write"}); err == nil {
		t.Error("garbage was taken for limits")
	}
}
