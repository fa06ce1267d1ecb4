package rpc

import (
	"context"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/micro/platform/framework/errors"
)

// patient is how long calls wait for a component that was there a moment ago: it
// starts again, or its instances change places. For one that is longer away they
// fail at once, so that they do not pile up.
const patient = 2 * time.Second

// patience has calls wait for a connection that is lost, within patient.
type patience struct {
	seen   atomic.Int64 // when the connection was last good, in Unix nanoseconds
	silent atomic.Int64 // when one broke off since its host did not answer, likewise
}

// errGone is for calls of a component whose hosts have just been found to be gone.
// What is started again refuses connections, or resets them: for that they wait.
var errGone = status.Error(codes.Unavailable, "no host of it answers")

// noticed is a connection that tells patience when its host is silent.
type noticed struct {
	net.Conn
	*patience
}

// Read implements net.Conn.
func (c noticed) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if errors.Is(err, syscall.ETIMEDOUT) {
		c.silent.Store(time.Now().UnixNano())
	}
	return n, err
}

func (p *patience) dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	return noticed{conn, p}, nil
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
		p.wait(ctx, cc, until)
		if p.gone(cc) {
			return errGone
		}
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

// gone says whether nobody is there, and that not because it starts again.
func (p *patience) gone(cc *grpc.ClientConn) bool {
	return cc.GetState() != connectivity.Ready && time.Since(time.Unix(0, p.silent.Load())) < patient
}

// wait comes back when the connection is good, nobody is there, or the time is up.
func (p *patience) wait(ctx context.Context, cc *grpc.ClientConn, until time.Time) {
	if cc.GetState() == connectivity.Ready {
		return
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	// One that is idle connects by a call.
	for state := cc.GetState(); (state == connectivity.Connecting || state == connectivity.TransientFailure) && !p.gone(cc); state = cc.GetState() {
		if !cc.WaitForStateChange(ctx, state) {
			return
		}
	}
}
