package audit

import (
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/pgtest"
	auditpb "github.com/micro/platform/proto/audit"
)

// TestErase removes a log in parts and leaves one entry in the operators', whose
// chain holds.
func TestErase(t *testing.T) {
	t.Parallel()
	s := setup(t)
	_, err := s.db.pool.Exec(t.Context(), `
		INSERT INTO audit.entries (namespace, id, at, hash)
		SELECT 'acme', n, now(), '' FROM generate_series(1, $1) AS n`, erasePage+7)
	if err != nil {
		t.Fatal(err)
	}
	do(t, s, "other", "jane", "runtime.Runtime.Create", "OK", nil)
	do(t, s, "micro", "root", "namespaces.Plans.Set", "OK", nil)
	req := &auditpb.EraseRequest{Namespace: "acme", Account: "jane@example.com", Deleted: 1_800_000_000}
	for _, tt := range []struct {
		name string
		call func() error
		want codes.Code
	}{
		{"a member", func() error { _, err := s.Erase(as(t, "acme", "admin"), req); return err }, codes.PermissionDenied},
		{"the operators' log", func() error {
			_, err := s.Erase(asComponent(t), &auditpb.EraseRequest{Namespace: "micro", Account: "root", Deleted: 1})
			return err
		}, codes.InvalidArgument},
		{"by nobody", func() error {
			_, err := s.Erase(asComponent(t), &auditpb.EraseRequest{Namespace: "acme", Deleted: 1})
			return err
		}, codes.InvalidArgument},
	} {
		if err := tt.call(); errors.Code(err) != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	if _, err := s.db.pool.Exec(t.Context(), `DELETE FROM audit.entries WHERE namespace = 'acme'`); err == nil {
		t.Fatal("the log of a namespace that is not erased can be deleted")
	}
	calls := 0
	for done := false; !done; calls++ {
		rsp, err := s.Erase(asComponent(t), req)
		if err != nil || calls > 5 {
			t.Fatalf("call %d: %v", calls, err)
		}
		done = rsp.GetDone()
	}
	if rsp, err := s.Erase(asComponent(t), req); err != nil || !rsp.GetDone() || calls < 2 {
		t.Errorf("once more after %d calls: %v, %v", calls, rsp, err)
	}
	if got := pgtest.Rows(t, s.db.pool, "audit", "acme"); len(got) != 1 || got["erased"] != 1 {
		t.Errorf("left: %v", got)
	}
	if got := pgtest.Rows(t, s.db.pool, "audit", "other"); got["entries"] != 2 {
		t.Errorf("the other namespace has %v", got)
	}
	rsp, err := s.List(as(t, "micro", "admin"), &auditpb.ListRequest{})
	if err != nil {
		t.Fatal(err)
	}
	e := rsp.GetEntries()
	if len(e) != 2 || e[0].GetAction() != erasedAction || e[0].GetAccount() != "jane@example.com" || e[0].GetTarget()["namespace"] != "acme" {
		t.Errorf("the operators' log has %v, want one entry more", e)
	}
	if v, err := s.Verify(as(t, "micro", "admin"), &auditpb.VerifyRequest{}); err != nil || v.GetBroken() != 0 {
		t.Errorf("Verify = %v, %v", v, err)
	}
	do(t, s, "acme", "root", "namespaces.Namespaces.GetDeletion", "", nil)
	if got := pgtest.Rows(t, s.db.pool, "audit", "acme"); len(got) != 1 {
		t.Errorf("what an operator does afterwards leaves %v", got)
	}
	rsp, err = s.List(as(t, "micro", "admin"), &auditpb.ListRequest{Limit: 1})
	if err != nil || rsp.GetEntries()[0].GetAction() != "namespaces.Namespaces.GetDeletion" || rsp.GetEntries()[0].GetTarget()["namespace"] != "acme" {
		t.Errorf("the operators' log has %v, %v", rsp.GetEntries(), err)
	}
	if _, err := s.db.pool.Exec(t.Context(), `DELETE FROM audit.erased`); err == nil {
		t.Error("that a log was erased can be deleted")
	}
}
