package faults

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	storepb "github.com/micro/platform/proto/store"
	"github.com/micro/platform/tests/platform"
)

// collector keeps what spans there are of each trace: "service: span".
type collector struct {
	collectorpb.UnimplementedTraceServiceServer

	mu     sync.Mutex
	traces map[string][]string
}

// Export implements the OTLP collector.
func (c *collector) Export(_ context.Context, req *collectorpb.ExportTraceServiceRequest) (*collectorpb.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range req.GetResourceSpans() {
		service := ""
		for _, a := range r.GetResource().GetAttributes() {
			service = a.GetValue().GetStringValue()
		}
		for _, scope := range r.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				c.traces[string(s.GetTraceId())] = append(c.traces[string(s.GetTraceId())], service+": "+s.GetName())
			}
		}
	}
	return &collectorpb.ExportTraceServiceResponse{}, nil
}

// has says whether there is one trace with all of the hops.
func (c *collector) has(hops []string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, spans := range c.traces {
		if !slices.ContainsFunc(hops, func(hop string) bool {
			return !slices.ContainsFunc(spans, func(s string) bool { return strings.HasPrefix(s, hop) })
		}) {
			return true
		}
	}
	return false
}

// TestTraces shows that a call is one trace, from the edge to the database.
func TestTraces(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{traces: map[string][]string{}}
	g := grpc.NewServer()
	collectorpb.RegisterTraceServiceServer(g, c)
	go g.Serve(l) //nolint:errcheck // ends by Stop
	t.Cleanup(g.Stop)
	dir := shared(t)
	d, err := startDatabases(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.stop)
	s, err := apart(t.Context(), platform.Config{Micro: micro, Dir: dir, TLS: true,
		Env: []string{"MICRO_OTLP_ENDPOINT=http://" + l.Addr().String(), "MICRO_OTLP_SAMPLE=1"}}, d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); s.Platform.Stop() })
	token, err := s.accessToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const strangers = "0123456789abcdef0123456789abcdef"
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token, "traceparent", "00-"+strangers+"-0123456789abcdef-01")
	if _, err := storepb.NewStoreClient(s.conn).Write(ctx, &storepb.WriteRequest{Record: &storepb.Record{Key: "traced", Value: []byte("1")}}); err != nil {
		t.Fatal(err)
	}
	hops := []string{"micro proxy: store.Store/Write", "micro store: store.Store/Write", "micro store: evalsha"}
	for end := time.Now().Add(20 * time.Second); !c.has(hops); pauseUntil(t.Context(), time.Now().Add(tryAgain)) {
		if time.Now().After(end) {
			t.Fatalf("no trace has all of %v: %q", hops, c.traces)
		}
	}
}
