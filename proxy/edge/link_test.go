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

// TestGood shows which nodes are chosen from, by the ways to them.
func TestGood(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, tt := range []struct {
		name  string
		ways  []way
		want  []int // at once
		later []int // until those that are avoided are tried again
	}{
		{"one", []way{{roundTrip: 300 * ms}}, []int{0}, []int{0}},
		{"nothing known", []way{{}, {}}, []int{0, 1}, []int{0, 1}},
		{"alike", []way{{roundTrip: ms}, {roundTrip: 5 * ms}, {roundTrip: 62 * ms}}, []int{0, 1, 2}, []int{0, 1, 2}},
		{"one is far", []way{{roundTrip: ms}, {roundTrip: 63 * ms}, {roundTrip: 2 * ms}}, []int{0, 2}, []int{0, 2}},
		{"one of two", []way{{roundTrip: ms}, {roundTrip: 200 * ms}}, []int{0}, []int{0}},
		{"one loses", []way{{roundTrip: ms}, {roundTrip: ms, lossy: true}}, []int{0}, []int{0}},
		{"one is silent", []way{{roundTrip: ms}, {roundTrip: ms, silent: true}}, []int{0}, []int{0, 1}},
		{"all are far", []way{{roundTrip: 200 * ms}, {roundTrip: 300 * ms}, {roundTrip: 450 * ms}}, []int{0, 1, 2}, []int{0, 1, 2}},
		{"most are", []way{{roundTrip: ms}, {roundTrip: 300 * ms}, {roundTrip: 300 * ms}}, []int{0, 1, 2}, []int{0, 1, 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, now := &service{}, time.Now()
			for _, w := range tt.ways {
				n := &node{}
				n.roundTrip.Store(int64(w.roundTrip))
				n.looked.Store(now.UnixNano())
				s.nodes = append(s.nodes, n)
			}
			quickest := s.quickest()
			for i, w := range tt.ways {
				s.nodes[i].judge(w, quickest, now)
			}
			for _, x := range []struct {
				after time.Duration
				want  []int
			}{{0, tt.want}, {avoidedFor - 1, tt.later}} {
				var want []*node
				for _, i := range x.want {
					want = append(want, s.nodes[i])
				}
				if got := s.good(nil, now.Add(x.after)); !slices.Equal(got, want) {
					t.Errorf("after %v %d of %d nodes are good, want %v", x.after, len(got), len(s.nodes), x.want)
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
	if w := first.look(time.Now()); w.roundTrip <= 0 || w.roundTrip > time.Second || w.lossy || w.silent {
		t.Errorf("the way over loopback = %+v", w)
	}
	n.avoid(time.Now())
	n.mu.Unlock()
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

func wantClosed(t *testing.T, which string, l *link) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for state := l.conn.GetState(); state != connectivity.Shutdown; state = l.conn.GetState() {
		if !l.conn.WaitForStateChange(ctx, state) {
			t.Fatalf("%s is %v", which, state)
		}
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
