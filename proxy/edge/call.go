package edge

import (
	"cmp"
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
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/rpc"
	registrypb "github.com/micro/platform/proto/registry"
)

// unaryTimeout bounds a unary call whose client names no deadline. Streams of
// accounts have none: they may be silent for hours.
const unaryTimeout = time.Minute

// Call is a request that was let in.
type Call struct {
	// ID is the request's id, in the logs and in the callee's metadata.
	ID        string
	Service   string
	Endpoint  string
	Namespace string
	// Caller is nil for an anonymous call.
	Caller *identity.Caller

	edge   *Edge
	method string
	from   string // the client's address
	// containers says that it came in where only containers do.
	containers bool
	apiToken   string    // that the caller came with, if it is one
	changes    uint64    // at the admission
	badToken   *badToken // why the caller is anonymous although there was a token
	opened     *openCall // from Bound on, if the call may be ended
	md         metadata.MD
	target     target
	done       func() // gives its place among the calls in flight back
	message    message
	count      count
}

// target is where a call goes: a component, or a service of a namespace.
type target struct {
	component *grpc.ClientConn
	local     *rpc.Server // of the component, for a unary method, when it is in this process
	service   *service
	stream    kind
	// halfClose says that the callee waits for the end of the request after its
	// only message, which old clients never send on streams.
	halfClose bool
	endpoint  *registrypb.Endpoint // nil when nobody has described it
}

// idempotent says whether the endpoint's author has: a call may be made twice.
func (t target) idempotent() bool { return t.endpoint.GetMetadata()[idempotent] == "true" }

// Close gives back what the call held, and counts it if its client has left.
func (c *Call) Close() {
	c.end(context.Canceled)
	c.leave()
}

func (c *Call) leave() {
	c.drop()
	c.done()
	c.done = func() {}
}

// Streaming says whether the callee answers with a stream.
func (c *Call) Streaming() bool { return c.target.stream == streaming }

// Platform says whether the callee is a component of the platform.
func (c *Call) Platform() bool { return c.target.component != nil }

// Describe answers the endpoint's messages as the registry has them, or nil.
func (c *Call) Describe() *registrypb.Endpoint { return c.target.endpoint }

// Bound answers a context with the call's deadline: the client's, which Micro
// clients also send as metadata, or one for unary calls without any. Calls
// without an account end soon in any case. The call also ends when its token is
// revoked, or its namespace suspended.
func (c *Call) Bound(ctx context.Context, md metadata.MD) (context.Context, context.CancelFunc) {
	var within time.Duration
	if v := md.Get("timeout"); len(v) > 0 {
		if ns, err := strconv.ParseInt(v[0], 10, 64); err == nil && ns > 0 {
			within = time.Duration(ns)
		}
	}
	if _, ok := ctx.Deadline(); !ok && within == 0 && c.target.stream == unary {
		within = unaryTimeout
	}
	if most := c.longest(); most > 0 && (within == 0 || within > most) {
		within = most
	}
	ctx, over := c.edge.open.add(ctx, c)
	if within == 0 {
		return ctx, over
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	return ctx, func() { cancel(); over() }
}

// longest is how long the call may last, whatever its client says; 0 is for
// ever. The platform has no streams for those without an account.
func (c *Call) longest() time.Duration {
	switch {
	case c.Caller != nil:
		return 0
	case c.Platform():
		return cmp.Or(c.edge.opts.AnonymousCall, unaryTimeout)
	case c.target.stream == unary:
		return c.edge.opts.AnonymousCall
	default:
		return c.edge.opts.AnonymousStream
	}
}

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
