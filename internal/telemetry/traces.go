package telemetry

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
)

// flushWithin is how long a process that stops may take to send its last spans.
const flushWithin = 2 * time.Second

// Trace has the process send its spans to a collector of OpenTelemetry, as that
// service; a share of all traces between 0 and 1 is kept. stop sends what is left.
// Nothing of it blocks a call: spans that the collector does not take are dropped.
func Trace(ctx context.Context, endpoint, service string, share float64) (stop func(), err error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("%q is no URL", endpoint)
	}
	ip := net.ParseIP(u.Hostname())
	if secure := u.Scheme == "https"; !secure && (u.Scheme != "http" || ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("%q: https://host:port is wanted, or http on loopback", endpoint)
	}
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(endpoint))
	if err != nil {
		return nil, err
	}
	provider := trace.NewTracerProvider(
		trace.WithBatcher(exporter, trace.WithBatchTimeout(time.Second)),
		// By the trace's id, which an edge makes: what callers say about sampling
		// counts for nothing, and all processes decide the same.
		trace.WithSampler(trace.TraceIDRatioBased(share)),
		trace.WithResource(resource.NewSchemaless(attribute.String("service.name", "micro "+service))),
	)
	otel.SetTracerProvider(provider)
	otel.SetTextMapPropagator(propagation.TraceContext{})
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), flushWithin)
		defer cancel()
		provider.Shutdown(ctx) //nolint:errcheck // spans may be lost
	}, nil
}
