package config

import (
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pgtest"
	configpb "github.com/micro/platform/proto/config"
)

// TestErase removes a namespace's document with its versions in parts, and no
// other.
func TestErase(t *testing.T) {
	t.Parallel()
	s := setup(t)
	api := components{Service: s}
	set(t, s, admin(t, "acme"), "a.key", `"hunter2"`, true)
	_, err := s.db.pool.Exec(t.Context(), `
		INSERT INTO config.versions (namespace, version, action, path, account, account_name, document)
		SELECT 'acme', n, 'set', 'a', 'jane', 'jane', '{}' FROM generate_series(10, 10 + $1) AS n`, erasePage)
	if err != nil {
		t.Fatal(err)
	}
	set(t, s, admin(t, "other"), "a.b", "1", false)
	if _, err := api.Erase(admin(t, "acme"), &configpb.EraseRequest{Namespace: "acme"}); errors.Code(err) != codes.PermissionDenied {
		t.Errorf("a member: %v, want PermissionDenied", err)
	}
	component := identity.With(t.Context(), identity.Caller{ID: "namespaces", Type: identity.Component, Namespace: identity.Platform})
	calls := 0
	for done := false; !done; calls++ {
		rsp, err := api.Erase(component, &configpb.EraseRequest{Namespace: "acme"})
		if err != nil || calls > 5 {
			t.Fatalf("call %d: %v", calls, err)
		}
		done = rsp.GetDone()
	}
	if rsp, err := api.Erase(component, &configpb.EraseRequest{Namespace: "acme"}); err != nil || !rsp.GetDone() || calls < 2 {
		t.Errorf("once more after %d calls: %v, %v", calls, rsp, err)
	}
	if got := pgtest.Rows(t, s.db.pool, "config", "acme"); len(got) > 0 {
		t.Errorf("left: %v", got)
	}
	if got := get(t, s, admin(t, "other"), "a.b", false); got != "1" {
		t.Errorf("the other namespace has %s", got)
	}
}
