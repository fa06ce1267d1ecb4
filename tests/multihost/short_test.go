package multihost

import (
	"os"
	"testing"
	"time"
)

// TestShort deploys a service over three hosts, updates it, and loses a host.
func TestShort(t *testing.T) {
	if os.Getenv(full) != "" {
		t.Skip("TestFull does it all")
	}
	skipWithout(t)
	micro(t)
	began := time.Now()
	f := setup(t, newSite(t, newRig(t, 0), 1))
	report.Info("start", "hosts, Swarm, components and edges", time.Since(began).Round(time.Second))
	f.deploy(t)
	f.update(t, "rolling update")
	f.lose(t, "a host is lost", f.site.Rig.Nodes[2], restored) // one without components
}
