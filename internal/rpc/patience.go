package rpc

import (
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
)

// patient is how long calls wait for a component that was there a moment ago: it
// starts again, or its instances change places. For one that is longer away they
// fail at once, so that they do not pile up.
const patient = 2 * time.Second

// patience has calls wait for a connection that is lost, within patient.
type patience struct {
	seen atomic.Int64 // when the connection was last good, in Unix nanoseconds
}

func (p *patience) wait(ctx context.Context, cc *grpc.ClientConn) {
	state := cc.GetState()
	if state == connectivity.Ready {
		p.seen.Store(time.Now().UnixNano())
		return
	}
	until := time.Unix(0, p.seen.Load()).Add(patient)
	if !time.Now().Before(until) {
		return
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	for state == connectivity.TransientFailure && cc.WaitForStateChange(ctx, state) {
		state = cc.GetState() // while it connects, gRPC itself waits
	}
}
