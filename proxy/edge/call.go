package edge

import (
	"context"
	"io"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/rpc"
)

// open starts the call at its target, in metadata of its own, and counts it.
func (c *Call) open(ctx context.Context, desc *grpc.StreamDesc, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := c.begin(ctx, desc, opts)
	if err != nil {
		c.end(err)
		return nil, err
	}
	c.count.sent = true
	return &metered{s, c, desc.ServerStreams}, nil
}

func (c *Call) begin(ctx context.Context, desc *grpc.StreamDesc, opts []grpc.CallOption) (grpc.ClientStream, error) {
	if deadline, ok := ctx.Deadline(); ok {
		c.md.Set("timeout", strconv.FormatInt(int64(time.Until(deadline)), 10))
	}
	ctx = metadata.NewOutgoingContext(ctx, c.md)
	if c.target.component != nil {
		return c.target.component.NewStream(ctx, desc, c.method, opts...)
	}
	var tried []*node
	for n := c.target.service.pick(); ; {
		a, err := c.openAt(ctx, n, desc, opts)
		if err == nil {
			r := &routed{call: c, ctx: ctx, desc: desc, opts: opts}
			r.now.Store(a)
			return r, nil
		}
		if errors.Code(err) != codes.Unavailable {
			return nil, err
		}
		// Nothing was sent yet, so another node may have it.
		if tried = append(tried, n); len(tried) < tries {
			n = c.another(ctx, tried)
		}
		if n == nil || len(tried) == tries {
			return nil, errors.New(codes.Unavailable, "service %s: no instance is reachable", c.Service).From("go.micro.client").Because(err)
		}
	}
}

// tries is how many nodes a call is offered to that cannot be connected to.
const tries = 3

// another answers a node of the service beside those that were tried, by the
// routes as they are now: a service of one instance may have been replaced
// meanwhile. It is nil if there is none.
func (c *Call) another(ctx context.Context, tried []*node) *node {
	s, err := c.edge.service(ctx, c)
	if err != nil {
		return nil
	}
	return s.pick(tried...)
}

func (c *Call) openAt(ctx context.Context, n *node, desc *grpc.StreamDesc, opts []grpc.CallOption) (*attempt, error) {
	l, err := n.acquire()
	if err != nil {
		return nil, err
	}
	release := sync.OnceFunc(func() { n.release(l) })
	p := &progress{node: n}
	s, err := l.conn.NewStream(context.WithValue(ctx, progressKey{}, p), desc, c.method, append(opts, grpc.OnFinish(func(error) { release() }))...)
	if err != nil {
		release()
		if errors.Code(err) == codes.Unavailable {
			n.eject()
		}
		return nil, err
	}
	return &attempt{s, p}, nil
}

// isLocal says whether the callee can be called without a transport: a component
// of this process.
func (c *Call) isLocal(contentSubtype string) bool {
	return c.target.local != nil && c.target.local.Has(c.method, contentSubtype)
}

// callLocal makes the call of a component of this process, and counts it.
func (c *Call) callLocal(ctx context.Context, contentSubtype string, request mem.BufferSlice) (rpc.Answer, error) {
	if deadline, ok := ctx.Deadline(); ok {
		c.md.Set("timeout", strconv.FormatInt(int64(time.Until(deadline)), 10))
	}
	c.count.sent = true
	c.count.in.Add(uint64(request.Len()))
	a, err := c.target.local.Call(ctx, c.method, contentSubtype, c.md, request)
	c.count.out.Add(uint64(a.Message.Len()))
	c.end(err)
	return a, err
}

// Invoke makes a unary call with a message of bytes, in the encoding that
// contentSubtype names, such as "json".
func (c *Call) Invoke(ctx context.Context, contentSubtype string, body []byte) ([]byte, error) {
	if c.isLocal(contentSubtype) {
		a, err := c.callLocal(ctx, contentSubtype, mem.BufferSlice{mem.SliceBuffer(body)})
		if err != nil {
			return nil, c.refusedWith(err, a.Trailer)
		}
		return c.keep(frame{a.Message})
	}
	s, err := c.open(ctx, &grpc.StreamDesc{}, subtype(contentSubtype))
	if err != nil {
		return nil, c.explain(err)
	}
	if err := s.SendMsg(bytesFrame(body)); err != nil && err != io.EOF { // on io.EOF, RecvMsg knows why
		return nil, c.explain(err)
	}
	var out frame
	if err := s.RecvMsg(&out); err != nil {
		return nil, c.refusedWith(err, s.Trailer())
	}
	return c.keep(out)
}

// keep answers the bytes of an answer, which the call holds as long as it is open.
func (c *Call) keep(f frame) ([]byte, error) {
	if err := c.hold(f.data.Len()); err != nil {
		f.data.Free()
		return nil, err
	}
	return f.take(), nil
}

// Stream is an open call whose messages are bytes.
type Stream struct {
	call      *Call
	stream    grpc.ClientStream
	halfClose bool
	closed    bool // nothing more can be sent
}

// Stream opens a stream to the callee.
func (c *Call) Stream(ctx context.Context, contentSubtype string) (*Stream, error) {
	s, err := c.open(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, subtype(contentSubtype))
	if err != nil {
		return nil, c.explain(err)
	}
	return &Stream{call: c, stream: s, halfClose: c.target.halfClose}, nil
}

// Send sends a message. After io.EOF, Recv says why the stream has ended, if it
// has: what follows the only message of a callee that takes one is left out.
func (s *Stream) Send(body []byte) error {
	if s.closed {
		return io.EOF
	}
	if err := s.stream.SendMsg(bytesFrame(body)); err != nil {
		return err
	}
	if s.halfClose {
		return s.CloseSend()
	}
	return nil
}

// CloseSend says that no more messages come.
func (s *Stream) CloseSend() error {
	s.closed = true
	return s.stream.CloseSend()
}

// Recv answers the next message, or io.EOF when the callee is done.
func (s *Stream) Recv() ([]byte, error) {
	var f frame
	if err := s.stream.RecvMsg(&f); err != nil {
		if err == io.EOF {
			return nil, err
		}
		return nil, s.call.refusedWith(err, s.stream.Trailer())
	}
	return s.call.keep(f)
}
