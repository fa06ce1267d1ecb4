package edge

import (
	"fmt"
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
		addresses []string // each of a namespace
		waits     time.Duration
	}{
		{"no services", nil, 0},
		{"all answer", []string{there, there}, 0},
		{"the host answers", []string{refuses}, 0},
		{"one does not", []string{there, nowhere}, 300 * time.Millisecond},
		{"none does", []string{nowhere, nowhere}, 900 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, n := newRoutes(), &near{first: 900 * time.Millisecond, next: 300 * time.Millisecond}
			if n.check() == nil {
				t.Fatal("it is near before it has tried")
			}
			for i, address := range tt.addresses {
				r.put(version{name{fmt.Sprint("space", i), "echo"}, "latest"}, &registrypb.Service{Nodes: []*registrypb.Node{{Id: "a", Address: address}}})
			}
			r.once.Do(func() { close(r.ready) })
			began := time.Now()
			if err := n.approach(t.Context(), r); err != nil || n.check() != nil {
				t.Fatalf("%v, and then %v", err, n.check())
			}
			if took := time.Since(began); took < tt.waits || tt.waits == 0 && took > n.first {
				t.Errorf("it waited for %v, not %v", took, tt.waits)
			}
		})
	}
}

// TestSamples shows how many instances of a namespace an edge tries to reach.
func TestSamples(t *testing.T) {
	t.Parallel()
	r := newRoutes()
	var all []*registrypb.Node
	for i := range 2 * nearEach {
		all = append(all, &registrypb.Node{Id: fmt.Sprint(i), Address: fmt.Sprintf("10.0.0.%d:1", i)})
	}
	r.put(version{name{"acme", "echo"}, "latest"}, &registrypb.Service{Nodes: all})
	reached := map[string]bool{}
	for want := nearEach; want >= 0; want-- {
		tried := r.samples(reached)
		if len(tried) != want {
			t.Fatalf("%d are tried after %d were reached, not %d", len(tried), len(reached), want)
		}
		if want > 0 {
			reached[tried[0]] = true
		}
	}
}

// TestNearWithoutRegistry shows that an edge that hears of no routes takes calls
// all the same, a moment later.
func TestNearWithoutRegistry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := &near{first: nearFirst, next: nearNext}
		if err := n.approach(t.Context(), newRoutes()); err != nil || n.check() != nil {
			t.Errorf("%v, and then %v", err, n.check())
		}
	})
}
