package runtime

import (
	"testing"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/internal/tenants"
	runtimepb "github.com/micro/platform/proto/runtime"
)

// TestLogRetention shows that lines older than log_retention are not shown. The
// service wrote its one in 2023.
func TestLogRetention(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.reconcile()
	b.create("hello", "github.com/acme/hello")
	b.settled("hello", running)
	for seconds, want := range map[int64]int{int64(plans.Unlimited): 1, 100 * 365 * 24 * 3600: 1, 24 * 3600: 0} {
		svc := New(b.svc.db.pool, b.bucket, b.svc.box, b.world.peers(), b.svc.opts)
		svc.peers.Tenants = tenants.Fixed(plans.FromMap(map[string]int64{"log_retention": seconds}))
		out := &logRecorder{ctx: b.admin}
		if err := svc.Logs(&runtimepb.LogsRequest{Service: "hello"}, out); err != nil {
			t.Fatal(err)
		}
		if got := out.all(); len(got) != want {
			t.Errorf("kept for %d s: %v, want %d lines", seconds, got, want)
		}
	}
}
