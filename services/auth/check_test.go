package auth

import (
	"testing"

	"github.com/micro/platform/internal/pgtest"
	"github.com/micro/platform/internal/seal"
)

// TestCheck shows that a key that does not open is found out after a restore.
func TestCheck(t *testing.T) {
	t.Parallel()
	p := setup(t)
	if err := Check(t.Context(), p.db, seal.Cluster{Secret: pgtest.Secret}); err != nil {
		t.Error(err)
	}
	if err := Check(t.Context(), p.db, seal.Cluster{Secret: "another cluster secret of enough characters"}); err == nil {
		t.Error("the key opens with another cluster secret")
	}
}
