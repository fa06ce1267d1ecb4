package registry

import (
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/pgtest"
	registrypb "github.com/micro/platform/proto/registry"
)

// TestErase removes what a namespace has registered, in parts, and tells its
// watchers; others stay.
func TestErase(t *testing.T) {
	t.Parallel()
	s := setup(t)
	api := components{Service: s}
	for _, ns := range []string{"a", "b"} {
		register(t, s, as(t, ns, "greeter-1"), greeter("n1"))
		register(t, s, as(t, ns, "greeter-2"), greeter("n2"))
		if _, err := s.Evict(asComponent(t), &registrypb.NodesRequest{Domain: ns, Account: "greeter-2"}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.db.pool.Exec(t.Context(), `
		WITH versions AS (
			INSERT INTO registry.versions (namespace, service, version, endpoints) SELECT 'a', 's', n::text, '' FROM generate_series(1, $1) AS n
			RETURNING namespace, service, version)
		INSERT INTO registry.nodes (namespace, service, version, id, address, account, digest)
		SELECT namespace, service, version, 'n', '10.0.0.1', 'x', '' FROM versions`, erasePage+7)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.Erase(as(t, "a", "greeter-1"), &registrypb.EraseRequest{Namespace: "a"}); errors.Code(err) != codes.PermissionDenied {
		t.Errorf("a service: %v, want PermissionDenied", err)
	}
	if _, err := api.Erase(asComponent(t), &registrypb.EraseRequest{Namespace: everything}); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("all namespaces: %v, want InvalidArgument", err)
	}
	calls := 0
	for done := false; !done; calls++ {
		rsp, err := api.Erase(asComponent(t), &registrypb.EraseRequest{Namespace: "a"})
		if err != nil || calls > 5 {
			t.Fatalf("call %d: %v", calls, err)
		}
		done = rsp.GetDone()
	}
	if rsp, err := api.Erase(asComponent(t), &registrypb.EraseRequest{Namespace: "a"}); err != nil || !rsp.GetDone() || calls < 2 {
		t.Errorf("once more after %d calls: %v, %v", calls, rsp, err)
	}
	if got := pgtest.Rows(t, s.db.pool, "registry", "a"); len(got) > 0 {
		t.Errorf("left: %v", got)
	}
	if got := pgtest.Rows(t, s.db.pool, "registry", "b"); got["versions"] != 1 || got["nodes"] != 1 || got["evictions"] != 1 {
		t.Errorf("the other namespace has %v", got)
	}
}
