package rpc

import (
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

// patient is how long calls wait for a component that was there a moment ago: it
// starts again, or its instances change places. For one that is longer away they
// fail at once, so that they do not pile up.
const patient = 2 * time.Second

// patience has calls wait for a connection that is lost, within patient.
type patience struct {
	seen atomic.Int64 // when the connection was last good, in Unix nanoseconds
}

// watch notes when the connection is good, until it is closed.
func (p *patience) watch(cc *grpc.ClientConn) {
	for state := cc.GetState(); state != connectivity.Shutdown; state = cc.GetState() {
		cc.WaitForStateChange(context.Background(), state)
		if state == connectivity.Ready {
			p.seen.Store(time.Now().UnixNano())
		}
	}
}

// try makes a call, again when no instance took it: gRPC fails what waits while
// one connects as soon as that one is refused, though another may be on its way.
// once says whether its call was given to an instance.
func (p *patience) try(ctx context.Context, cc *grpc.ClientConn, once func() (taken bool, err error)) error {
	until := p.until(cc)
	for {
		wait(ctx, cc, until)
		taken, err := once()
		if taken {
			p.seen.Store(time.Now().UnixNano())
			return err
		}
		if status.Code(err) != codes.Unavailable || !time.Now().Before(until) {
			return err
		}
	}
}

// until is how long a call may wait that is made now.
func (p *patience) until(cc *grpc.ClientConn) time.Time {
	if cc.GetState() == connectivity.Ready {
		return time.Now().Add(patient)
	}
	return time.Unix(0, p.seen.Load()).Add(patient)
}

// wait comes back when the connection is good, or the time is up.
func wait(ctx context.Context, cc *grpc.ClientConn, until time.Time) {
	if cc.GetState() == connectivity.Ready {
		return
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	for state := cc.GetState(); state != connectivity.Ready; state = cc.GetState() {
		cc.Connect() // nothing else does, for one that is idle
		if !cc.WaitForStateChange(ctx, state) {
			return
		}
	}
}
