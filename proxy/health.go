package proxy

import (
	"context"

	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/micro/platform/internal/ingress"
	"github.com/micro/platform/proxy/edge"
)

// maxWatchers is how many streams of health a listener has.
const maxWatchers = 1000

// healthy is the health of a server that also depends on its edge's.
type healthy struct {
	*health.Server
	edge     *edge.Edge
	watchers *edge.Places
	proxies  ingress.Proxies
}

// Check implements healthpb.HealthServer.
func (h healthy) Check(ctx context.Context, r *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	if h.edge.Closed() != nil {
		return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_NOT_SERVING}, nil
	}
	return h.Server.Check(ctx, r)
}

// Watch implements healthpb.HealthServer. It needs no account, and a stream of it
// has no end: so an address may have as many as it may have calls.
func (h healthy) Watch(r *healthpb.HealthCheckRequest, s healthpb.Health_WatchServer) error {
	leave, err := h.watchers.Enter(clientOf(s.Context(), h.proxies))
	if err != nil {
		return plain(err)
	}
	defer leave()
	return h.Server.Watch(r, s)
}
