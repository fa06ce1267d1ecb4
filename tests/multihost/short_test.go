package multihost

import (
	"testing"
	"time"
)

// TestShort is the platform over three hosts, one of which is lost.
func TestShort(t *testing.T) {
	began := time.Now()
	s := newSite(t, 1)
	t.Logf("the platform is up after %v", time.Since(began).Round(time.Millisecond))
	_, alice := signup(t, s, "alice")
	b := balance(t, s)
	lost := s.Rig.Nodes[2]
	traffic, at := underTraffic(t, b, alice.platformKinds(), settled, lost.Cut)
	judge(t, "a host is lost", b, alice, traffic, at, window(errorWindow))
	if err := lost.Heal(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func balance(t *testing.T, s *Site) *Balancer {
	t.Helper()
	b, err := NewBalancer(s.Rig.Nodes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}
