// Package debug answers how a process is, as operators ask for it: every
// service and every part of the platform serves it under its own name.
package debug

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	debugpb "github.com/micro/platform/proto/debug"
)

// Debug implements the Debug RPCs of a process.
type Debug struct {
	debugpb.UnsafeDebugServer

	started          time.Time
	requests, errors atomic.Uint64
}

// New makes a Debug for a process that starts now.
func New() *Debug { return &Debug{started: time.Now()} }

// Register serves the RPCs as /<service>.Debug/….
func (d *Debug) Register(s grpc.ServiceRegistrar, service string) {
	desc := debugpb.Debug_ServiceDesc
	desc.ServiceName = service + ".Debug"
	s.RegisterService(&desc, d)
}

// Count counts a call that has ended.
func (d *Debug) Count(err error) {
	d.requests.Add(1)
	if err != nil {
		d.errors.Add(1)
	}
}

// Unary counts the unary calls of a server.
func (d *Debug) Unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	rsp, err := handler(ctx, req)
	d.Count(err)
	return rsp, err
}

// Stream counts the streams of a server, when they end.
func (d *Debug) Stream(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	err := handler(srv, s)
	d.Count(err)
	return err
}

// Health implements Debug.
func (d *Debug) Health(context.Context, *debugpb.HealthRequest) (*debugpb.HealthResponse, error) {
	return &debugpb.HealthResponse{Status: "ok"}, nil
}

// Stats implements Debug.
func (d *Debug) Stats(context.Context, *debugpb.StatsRequest) (*debugpb.StatsResponse, error) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	now := time.Now()
	return &debugpb.StatsResponse{
		Timestamp: uint64(now.Unix()), Started: uint64(d.started.Unix()), Uptime: uint64(now.Sub(d.started).Seconds()),
		Memory: m.Sys - m.HeapReleased, Threads: uint64(runtime.NumGoroutine()), Gc: m.PauseTotalNs,
		Requests: d.requests.Load(), Errors: d.errors.Load(),
	}, nil
}
