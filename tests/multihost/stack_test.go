package multihost

import (
	"context"
	"os"
	"testing"
	"time"
)

// TestStack is deploy/swarm as an operator has it: deployed, used, upgraded.
func TestStack(t *testing.T) {
	if os.Getenv(full) == "" {
		t.Skip("it takes ten minutes: make multihost, or " + full + "=1")
	}
	skipWithout(t)
	began := time.Now()
	s, err := NewStack(t.Context(), newRig(t), micro(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.end(t) })
	report.Info("the stack", "hosts, Swarm and stack", time.Since(began).Round(time.Second))
	f := &fixture{site: s, balancer: balance(t, s)}
	f.alice, f.tenant = signup(t, s, "alice")
	f.deploy(t)
	const upgrade = "the stack is upgraded"
	traffic, at := underTraffic(t, f.balancer, f.kinds(), settle(), func(ctx context.Context) error { return s.Upgrade(ctx, "2") })
	f.judge(t, upgrade, traffic, at, none)
	report.Info(upgrade, "it took", time.Since(at).Round(time.Second))
}
