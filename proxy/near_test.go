package proxy

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	registrypb "github.com/micro/platform/proto/registry"
)

// TestNear shows when an edge that has started says that it reaches services.
func TestNear(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	there, refuses := l.Addr().String(), "127.0.0.1:1"
	const nowhere = "255.255.255.255:1"
	for _, tt := range []struct {
		name      string
		addresses map[string]string // by namespace
		waits     bool
	}{
		{"no services", nil, false},
		{"all answer", map[string]string{"acme": there, "other": there}, false},
		{"the host answers", map[string]string{"acme": refuses}, false},
		{"one does not", map[string]string{"acme": there, "other": nowhere}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, n := newRoutes(), &near{within: 300 * time.Millisecond}
			if n.check() == nil {
				t.Fatal("it is near before it has tried")
			}
			for namespace, address := range tt.addresses {
				r.put(version{name{namespace, "echo"}, "latest"}, &registrypb.Service{Nodes: []*registrypb.Node{{Id: "a", Address: address}}})
			}
			r.once.Do(func() { close(r.ready) })
			began := time.Now()
			if err := n.approach(t.Context(), r); err != nil || n.check() != nil {
				t.Fatalf("%v, and then %v", err, n.check())
			}
			if waited := time.Since(began) >= n.within; waited != tt.waits {
				t.Errorf("it waited for %v", time.Since(began))
			}
		})
	}
}

// TestNearWithoutRegistry shows that an edge that hears of no routes takes calls
// all the same, a moment later.
func TestNearWithoutRegistry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := &near{within: nearWithin}
		if err := n.approach(t.Context(), newRoutes()); err != nil || n.check() != nil {
			t.Errorf("%v, and then %v", err, n.check())
		}
	})
}
