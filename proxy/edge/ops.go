package edge

import (
	"time"

	"github.com/micro/platform/internal/app"
)

// show has operators see how the edge is: what it knows, and what it has to do.
func (e *Edge) show(h *app.Host) {
	h.Gate(e.Closed)
	h.Gauge("micro_edge_services", "Services that the edge knows nodes of.", func() float64 { return float64(e.routes.known()) })
	h.Gauge("micro_edge_nodes_avoided", "Nodes that the edge prefers others to, since the network to them is bad.", func() float64 { return float64(e.routes.avoided(time.Now())) })
	h.Gauge("micro_edge_api_tokens", "API tokens that the edge need not ask auth for.", func() float64 { return float64(e.exchange.known()) })
	h.Gauge("micro_edge_open_calls", "Calls and streams that are open.", func() float64 { return float64(e.inFlight.taken()) })
	h.Gauge("micro_edge_buffered_bytes", "Bytes of large bodies and answers that are under way.", func() float64 { return float64(e.buffered.taken()) })
	h.Gauge("micro_edge_unshipped_bytes", "Bytes of counted calls in full segments that usage has not taken yet.", func() float64 { return float64(e.calls.Backlog()) })
}

// Called notes a call in the metrics: how it ended, and how long it took.
func (e *Edge) Called(code string, took time.Duration) { e.called(code, took) }

func (r *routes) known() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.services)
}

func (r *routes) avoided(now time.Time) (n int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, s := range r.services {
		for _, x := range s.nodes {
			if now.UnixNano() < x.avoided.Load() {
				n++
			}
		}
	}
	return n
}

func (x *exchange) known() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.good)
}
