// Package tracing carries W3C trace context in gRPC metadata.
package tracing

import (
	"context"
	"maps"
	"slices"

	"google.golang.org/grpc/metadata"
)

// Carrier is metadata as OpenTelemetry's propagators read and write it.
type Carrier metadata.MD

// Incoming is the metadata of the call being handled.
func Incoming(ctx context.Context) Carrier {
	md, _ := metadata.FromIncomingContext(ctx)
	return Carrier(md)
}

// Get implements propagation.TextMapCarrier.
func (c Carrier) Get(key string) string {
	if values := metadata.MD(c).Get(key); len(values) > 0 {
		return values[0]
	}
	return ""
}

// Set implements propagation.TextMapCarrier.
func (c Carrier) Set(key, value string) { metadata.MD(c).Set(key, value) }

// Keys implements propagation.TextMapCarrier.
func (c Carrier) Keys() []string { return slices.Collect(maps.Keys(c)) }
