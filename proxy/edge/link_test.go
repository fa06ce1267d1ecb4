package edge

import (
	"context"
	"net"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

func TestLossy(t *testing.T) {
	t.Parallel()
	one, other := &net.TCPConn{}, &net.TCPConn{}
	for _, tt := range []struct {
		name      string
		then, now counters
		want      bool
	}{
		{"nothing", counters{}, counters{}, false},
		{"all arrives", counters{of: one}, counters{of: one, sent: 1000}, false},
		{"two are lost", counters{of: one}, counters{of: one, sent: 4, repeated: 2}, false},
		{"three of sixty", counters{of: one}, counters{of: one, sent: 60, repeated: 3}, true},
		{"three of more", counters{of: one}, counters{of: one, sent: 61, repeated: 3}, false},
		{"long ago", counters{of: one, sent: 100, repeated: 20}, counters{of: one, sent: 200, repeated: 20}, false},
		{"counters that have gone round", counters{of: one, sent: ^uint32(0)}, counters{of: one, sent: 9}, false},
		{"a new connection", counters{of: other, sent: 100, repeated: 20}, counters{of: one, sent: 10, repeated: 1}, false},
		{"a new connection that loses", counters{of: other, sent: 100, repeated: 20}, counters{of: one, sent: 10, repeated: 3}, true},
	} {
		if got := tt.now.lossySince(tt.then); got != tt.want {
			t.Errorf("%s: lossySince = %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestGood shows which nodes are chosen from, by the round trips to them.
func TestGood(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, tt := range []struct {
		name       string
		roundTrips []time.Duration
		want       []int
	}{
		{"one", []time.Duration{300 * ms}, []int{0}},
		{"nothing known", []time.Duration{0, 0}, []int{0, 1}},
		{"alike", []time.Duration{ms, 5 * ms, 61 * ms}, []int{0, 1, 2}},
		{"one is far", []time.Duration{ms, 63 * ms, 2 * ms}, []int{0, 2}},
		{"one of two", []time.Duration{ms, 200 * ms}, []int{0}},
		{"all are far", []time.Duration{200 * ms, 300 * ms, 450 * ms}, []int{0, 1, 2}},
		{"most are", []time.Duration{ms, 300 * ms, 300 * ms}, []int{0, 1, 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &service{}
			for _, r := range tt.roundTrips {
				n := &node{}
				n.roundTrip.Store(int64(r))
				s.nodes = append(s.nodes, n)
			}
			var want []*node
			for _, i := range tt.want {
				want = append(want, s.nodes[i])
			}
			now := time.Now()
			for _, at := range []time.Time{now, now.Add(avoidedFor - 1)} {
				if got := s.good(nil, at); !slices.Equal(got, want) {
					t.Errorf("after %v %d of %d nodes are good, want %d", at.Sub(now), len(got), len(s.nodes), len(want))
				}
			}
			if got := s.good(nil, now.Add(avoidedFor)); len(got) != len(s.nodes) {
				t.Errorf("after %v %d of %d nodes are tried again", avoidedFor, len(got), len(s.nodes))
			}
			if got := s.good(s.nodes[:1], now); slices.Contains(got, s.nodes[0]) || len(got) == 0 && len(s.nodes) > 1 {
				t.Errorf("without the first one, %d nodes are good", len(got))
			}
		})
	}
}

// TestLink follows the connections of a node that is avoided, and then taken out of
// the routes: each closes after its last call.
func TestLink(t *testing.T) {
	t.Parallel()
	n := &node{address: serveHealth(t)}
	first := take(t, n)
	check(t, first)
	n.mu.Lock()
	w, ok := first.look(time.Now())
	_, again := first.look(time.Now())
	n.avoid(time.Now())
	n.mu.Unlock()
	if !ok || w.roundTrip <= 0 || w.roundTrip > time.Second || w.lossy {
		t.Errorf("the way over loopback = %+v, %v", w, ok)
	}
	if again {
		t.Error("the kernel is asked again at once")
	}
	second := take(t, n)
	check(t, second)
	check(t, first)
	if n.near(0, time.Now()) || first == second {
		t.Error("the node is called over the same connection")
	}
	n.release(first)
	wantClosed(t, "the first connection, of a node that was avoided", first)
	n.retire()
	check(t, second)
	late := take(t, n)
	check(t, late)
	for _, l := range []*link{second, late} {
		n.release(l)
		wantClosed(t, "a connection of a node that is gone", l)
	}
	if n.link != nil || n.load.Load() != 0 {
		t.Errorf("the node has still %v and %d calls", n.link, n.load.Load())
	}
}

func take(t *testing.T, n *node) *link {
	t.Helper()
	l, err := n.acquire()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func check(t *testing.T, l *link) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := healthpb.NewHealthClient(l.conn).Check(ctx, &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
}

func wantClosed(t *testing.T, what string, l *link) {
	t.Helper()
	if state := l.conn.GetState(); state != connectivity.Shutdown {
		t.Errorf("%s is %v", what, state)
	}
}

// serveHealth answers the address of a server.
func serveHealth(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	healthpb.RegisterHealthServer(s, health.NewServer())
	go s.Serve(l) //nolint:errcheck // ends by Stop
	t.Cleanup(s.Stop)
	return l.Addr().String()
}
