package edge

import (
	"io"
	"net/netip"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/meter"
	"github.com/micro/platform/internal/reserved"
)

// movedEvery is how often the bytes of a stream that goes on are counted: it may
// go on for hours.
const movedEvery = 10 * time.Second

// operator is whom calls are counted for that an operator makes in another's
// namespace. Who it was is not for its members.
const operator = "operator"

// count is what a call has come to so far.
type count struct {
	log     *meter.Log // nil for a call that nobody pays for
	in, out atomic.Uint64
	moved   atomic.Int64 // when bytes were last counted, in milliseconds
	sent    bool         // it was handed to its service
	ended   atomic.Bool  // it is counted
}

// metered is the stream of a call, and counts it: a call is in the log before
// its end goes to the client, so that what was answered is counted.
type metered struct {
	grpc.ClientStream
	call    *Call
	streams bool // it may answer more than one message
}

// SendMsg implements grpc.ClientStream.
func (m *metered) SendMsg(x any) error {
	n := size(x) // a frame's memory goes with it
	err := m.ClientStream.SendMsg(x)
	if err == nil {
		m.call.count.in.Add(n)
		m.call.move()
	}
	return err
}

// RecvMsg implements grpc.ClientStream.
func (m *metered) RecvMsg(x any) error {
	err := m.ClientStream.RecvMsg(x)
	switch {
	case err == io.EOF:
		m.call.end(nil)
	case err != nil:
		m.call.end(err)
	default:
		m.call.count.out.Add(size(x))
		if m.streams {
			m.call.move()
		} else {
			m.call.end(nil)
		}
	}
	return err
}

// size is the bytes of a message.
func size(x any) uint64 {
	switch m := x.(type) {
	case *frame:
		return uint64(m.data.Len())
	case proto.Message:
		return uint64(proto.Size(m))
	}
	return 0
}

// end counts a call that is over, once.
func (c *Call) end(err error) {
	if c.count.log == nil || c.count.ended.Swap(true) {
		return
	}
	c.record(time.Now(), c.class(err), true)
}

// move counts what a stream has moved, now and then.
func (c *Call) move() {
	if c.count.log == nil || c.target.stream == unary || c.count.ended.Load() {
		return
	}
	now := time.Now()
	last := c.count.moved.Load()
	if now.UnixMilli()-last < movedEvery.Milliseconds() || !c.count.moved.CompareAndSwap(last, now.UnixMilli()) || last == 0 {
		return
	}
	c.record(now, meter.OK, false)
}

func (c *Call) record(now time.Time, class meter.Class, ended bool) {
	r := meter.Record{At: now, Namespace: c.Namespace, Class: class, Ended: ended, BytesIn: c.count.in.Swap(0), BytesOut: c.count.out.Swap(0)}
	r.Service, r.Endpoint = c.counted()
	r.Inside = c.inside()
	switch {
	case c.Caller == nil:
	case c.Caller.Namespace != c.Namespace:
		r.Account = operator
	default:
		r.Account = c.Caller.ID
	}
	c.count.log.Append(&r)
}

// inside says whether the caller is a container. One may come in where everybody
// does: then it is a service, with an address that is not of the internet.
func (c *Call) inside() bool {
	if c.containers {
		return true
	}
	if c.Caller == nil || c.Caller.Type != identity.Service {
		return false
	}
	a, err := netip.ParseAddr(c.from)
	return err == nil && a.Unmap().IsPrivate()
}

// counted is the service and the endpoint that a call counts for. Those that
// nobody has described all count as one, so that callers cannot make up more
// and more of them.
func (c *Call) counted() (service, endpoint string) {
	switch {
	case reserved.Service(c.Service):
		if _, known := c.edge.methods[c.method]; known {
			return c.Service, c.Endpoint
		}
		return c.Service, ""
	case c.target.endpoint != nil:
		return c.Service, c.Endpoint
	}
	s, _ := c.edge.routes.find(name{c.Namespace, c.Service}, time.Now())
	switch {
	case s == nil && c.target.service == nil:
		return "", ""
	case s != nil && s.endpoints[c.Endpoint] != nil:
		return c.Service, c.Endpoint
	}
	return c.Service, ""
}

// class is how a call ended. What the platform refused costs nothing, whether
// the edge did or one of its components.
func (c *Call) class(err error) meter.Class {
	if !c.count.sent {
		return meter.Refused
	}
	switch code := errors.Code(err); code {
	case codes.OK:
		return meter.OK
	case codes.Unauthenticated, codes.PermissionDenied, codes.ResourceExhausted:
		if c.Platform() {
			return meter.Refused
		}
		return meter.ClientError
	case codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.FailedPrecondition, codes.OutOfRange, codes.Aborted, codes.Canceled:
		return meter.ClientError
	}
	return meter.ServerError
}

// refused counts a call that was not let in. One without an account counts only
// for a service that is there: anybody could name any namespace.
func (c *Call) refused(log *meter.Log) {
	service, _ := c.counted()
	if c.Namespace == "" || c.Caller == nil && (service == "" || reserved.Service(service)) {
		return
	}
	c.count.log = log
	c.end(nil)
}

// pays says whether a call counts for its namespace. Signing up and logging in
// count for none.
func (c *Call) pays() bool { return c.Caller != nil || !c.Platform() }

// Moved counts bytes that have left the caller's namespace for the internet, and
// that came back, as they go. Nothing of it is a call.
func (e *Edge) Moved(caller identity.Caller, in, out uint64) {
	e.calls.Append(&meter.Record{At: time.Now(), Namespace: caller.Namespace, Account: caller.ID, Class: meter.OK, BytesIn: in, BytesOut: out})
}
