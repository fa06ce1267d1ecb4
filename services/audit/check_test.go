package audit

import (
	"strings"
	"testing"
)

// TestCheck shows that a log whose end is missing is found out after a restore.
func TestCheck(t *testing.T) {
	t.Parallel()
	s := setup(t)
	do(t, s, "acme", "jane", "a.A.Do", "OK", nil)
	do(t, s, "demo", "joe", "a.A.Do", "OK", nil)
	if rows, err := Check(t.Context(), s.db.pool); rows != 4 || err != nil {
		t.Fatalf("Check = %d, %v, want 4 rows", rows, err)
	}
	if _, err := s.db.pool.Exec(t.Context(), `UPDATE audit.chains SET last = last + 1 WHERE namespace = 'demo'`); err != nil {
		t.Fatal(err)
	}
	if _, err := Check(t.Context(), s.db.pool); err == nil || !strings.Contains(err.Error(), "demo is broken at row 3") {
		t.Errorf("Check = %v, want that the last row of demo is missing", err)
	}
}
