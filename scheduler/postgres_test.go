package scheduler

import (
	"strings"
	"testing"

	"github.com/micro/platform/internal/pgtest"
)

func TestAnotherClusterIDIsRefused(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, "scheduler")
	for range 2 { // a first start and a later one
		if err := keepID(t.Context(), pool, "0123abcd"); err != nil {
			t.Fatal(err)
		}
	}
	if err := keepID(t.Context(), pool, "4567cdef"); err == nil || !strings.Contains(err.Error(), "MICRO_CLUSTER_ID must be 0123abcd") {
		t.Errorf("another id: %v", err)
	}
}
