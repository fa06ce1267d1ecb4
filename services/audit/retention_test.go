package audit

import (
	"encoding/hex"
	"testing"
	"time"

	auditpb "github.com/micro/platform/proto/audit"
)

// TestRetention shows that old entries go, in parts, the chain of the others
// holds, from where it begins, and that nothing else can be removed.
func TestRetention(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for range removePage/2 + 10 { // two rows each
		do(t, s, "acme", "jane", "runtime.Runtime.Create", "OK", nil)
	}
	do(t, s, "other", "eve", "runtime.Runtime.Create", "OK", nil)
	before, err := s.Verify(as(t, "acme", "admin"), &auditpb.VerifyRequest{})
	if err != nil || before.GetBroken() != 0 {
		t.Fatal(before, err)
	}
	old := time.Now()
	do(t, s, "acme", "joe", "runtime.Runtime.Delete", "OK", nil)
	s.now = func() time.Time { return old.Add(s.opts.Keep) }
	for range 2 { // nothing is left for the second
		if err := s.removeOld(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	rsp, err := s.List(as(t, "acme", "admin"), &auditpb.ListRequest{})
	if err != nil || len(rsp.GetEntries()) != 1 || rsp.GetEntries()[0].GetAccount() != "joe" {
		t.Errorf("left are %v, %v; want joe's", rsp.GetEntries(), err)
	}
	after, err := s.Verify(as(t, "acme", "admin"), &auditpb.VerifyRequest{})
	if err != nil || after.GetBroken() != 0 || after.GetRows() != before.GetRows()+2 {
		t.Errorf("Verify = %v, %v, want %d rows and a chain that holds", after, err, before.GetRows()+2)
	}
	if last, hash, err := s.db.beginning(t.Context(), "acme"); err != nil || last != before.GetRows() || hex.EncodeToString(hash) != before.GetHash() {
		t.Errorf("it begins after %d with %x, %v; want what was verified before", last, hash, err)
	}
	if rsp, err := s.List(as(t, "other", "admin"), &auditpb.ListRequest{}); err != nil || len(rsp.GetEntries()) != 0 {
		t.Errorf("of the other namespace %v, %v are left", rsp.GetEntries(), err)
	}
	for _, q := range []string{
		`DELETE FROM audit.entries WHERE namespace = 'acme'`,
		`UPDATE audit.checkpoints SET last = 1 WHERE namespace = 'acme'`,
		`UPDATE audit.checkpoints SET last = last + 100, at = at - interval '1 day' WHERE namespace = 'acme'`,
	} {
		if _, err := s.db.pool.Exec(t.Context(), q); err == nil {
			t.Errorf("the database does not refuse %s", q)
		}
	}
}
