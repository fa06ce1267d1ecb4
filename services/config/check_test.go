package config

import (
	"testing"

	"github.com/micro/platform/internal/pgtest"
	"github.com/micro/platform/internal/seal"
)

// TestCheck shows that secrets which do not open are found out after a restore.
func TestCheck(t *testing.T) {
	t.Parallel()
	s := setup(t)
	set(t, s, admin(t, "acme"), "a", `{"b":"hunter2","c":"hunter2"}`, true)
	set(t, s, admin(t, "demo"), "a", `1`, false)
	if n, err := Check(t.Context(), s.db.pool, seal.Cluster{Secret: pgtest.Secret}); n != 2 || err != nil {
		t.Fatalf("Check = %d, %v, want 2 secrets", n, err)
	}
	if _, err := Check(t.Context(), s.db.pool, seal.Cluster{Secret: "another cluster secret of enough characters"}); err == nil {
		t.Error("the keys open with another cluster secret")
	}
	if _, err := s.db.pool.Exec(t.Context(), `UPDATE config.documents SET secrets = jsonb_build_object('a.b', secrets->'a.c') WHERE namespace = 'acme'`); err != nil {
		t.Fatal(err)
	}
	if _, err := Check(t.Context(), s.db.pool, seal.Cluster{Secret: pgtest.Secret}); err == nil {
		t.Error("a secret opens under another path")
	}
}
