package multihost

import (
	"os"
	"strings"
	"testing"
)

// newRig skips where there cannot be one, and leaves nothing behind.
func newRig(t *testing.T) *Rig {
	t.Helper()
	if why := missing(); why != "" {
		t.Skip(why)
	}
	r, err := NewRig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(r.Dir); err == nil {
			t.Errorf("%s is still there", r.Dir)
		}
	})
	return r
}

func TestRig(t *testing.T) {
	r := newRig(t)
	out, err := r.Nodes[2].Docker(t.Context(), "node", "ls", "--format", "{{.Hostname}} {{.Status}}")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(out, "Ready"); got != hosts {
		t.Errorf("%d hosts are ready: %s", got, out)
	}
}
