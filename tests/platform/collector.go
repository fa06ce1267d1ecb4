package platform

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
)

// Collector receives the traces of a platform, and keeps what spans there are of
// each: "process: span".
type Collector struct {
	collectorpb.UnimplementedTraceServiceServer

	address string
	server  *grpc.Server

	mu     sync.Mutex
	traces map[string][]string
}

// NewCollector starts a collector on a port of its own.
func NewCollector() (*Collector, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &Collector{address: l.Addr().String(), server: grpc.NewServer(), traces: map[string][]string{}}
	collectorpb.RegisterTraceServiceServer(c.server, c)
	go c.server.Serve(l) //nolint:errcheck // ends by Close
	return c, nil
}

// Env is what has a platform send it every trace.
func (c *Collector) Env() []string {
	return []string{"MICRO_OTLP_ENDPOINT=http://" + c.address, "MICRO_OTLP_SAMPLE=1"}
}

// Close stops it.
func (c *Collector) Close() { c.server.Stop() }

// Export implements the OTLP collector.
func (c *Collector) Export(_ context.Context, req *collectorpb.ExportTraceServiceRequest) (*collectorpb.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range req.GetResourceSpans() {
		service := ""
		for _, a := range r.GetResource().GetAttributes() {
			service = a.GetValue().GetStringValue()
		}
		for _, scope := range r.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				id := hex.EncodeToString(s.GetTraceId())
				c.traces[id] = append(c.traces[id], service+": "+s.GetName())
			}
		}
	}
	return &collectorpb.ExportTraceServiceResponse{}, nil
}

// Wait waits until one trace has all of the hops, each the beginning of
// "process: span". Processes send theirs every second.
func (c *Collector) Wait(ctx context.Context, hops ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for len(c.with(hops)) == 0 {
		if !Until(ctx, time.Now().Add(50*time.Millisecond)) {
			return fmt.Errorf("no trace has all of %q: %q", hops, c.with(hops[:1]))
		}
	}
	return nil
}

// Forget begins anew.
func (c *Collector) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.traces)
}

// Knows says whether there is a trace of that id, in hexadecimal.
func (c *Collector) Knows(trace string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.traces[trace] != nil
}

// with answers the traces that have all of the hops.
func (c *Collector) with(hops []string) (all [][]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, spans := range c.traces {
		if !slices.ContainsFunc(hops, func(hop string) bool {
			return !slices.ContainsFunc(spans, func(s string) bool { return strings.HasPrefix(s, hop) })
		}) {
			all = append(all, slices.Clone(spans))
		}
	}
	return all
}
