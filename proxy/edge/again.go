package edge

import (
	"context"
	"io"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"

	"github.com/micro/platform/framework/errors"
)

// maxKept bounds the message that is kept for another node, in bytes. gRPC keeps
// as much by itself, for the same node.
const maxKept = 256 << 10

// idempotent, as "true" in an endpoint's metadata, says that a call may be made
// twice.
const idempotent = "idempotent"

// progress is how far an attempt has come.
type progress struct {
	node     *node
	sent     atomic.Bool // the node may have begun with it
	answered atomic.Bool // the node has said something
	ended    atomic.Bool // the node has said how the call ended
}

type progressKey struct{}

// progressHandler writes down the progress of calls to nodes. gRPC makes an
// attempt again by itself when it is certain that the node has not begun: then it
// begins anew here, too.
type progressHandler struct{}

// TagRPC implements stats.Handler.
func (progressHandler) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC implements stats.Handler.
func (progressHandler) HandleRPC(ctx context.Context, s stats.RPCStats) {
	p, ok := ctx.Value(progressKey{}).(*progress)
	if !ok {
		return
	}
	switch s.(type) {
	case *stats.Begin:
		p.sent.Store(false)
	case *stats.OutHeader:
		p.sent.Store(true)
	case *stats.InHeader:
		p.answered.Store(true)
	case *stats.InTrailer:
		p.answered.Store(true)
		p.ended.Store(true)
	}
}

// TagConn implements stats.Handler.
func (progressHandler) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements stats.Handler.
func (progressHandler) HandleConn(context.Context, stats.ConnStats) {}

// attempt is a call at one node.
type attempt struct {
	grpc.ClientStream
	*progress
}

// routed is a call to a service. It goes to a second node when the first one
// breaks off, if it may be made again: the first has not begun with it, or its
// endpoint is idempotent.
type routed struct {
	call *Call
	ctx  context.Context //nolint:containedctx // of this one call
	desc *grpc.StreamDesc
	opts []grpc.CallOption
	now  atomic.Pointer[attempt]

	mu     sync.Mutex
	final  atomic.Bool     // there is no other attempt. Set with mu held
	kept   mem.BufferSlice // what was sent so far
	any    bool            // something was
	closed bool            // nothing more comes
}

// SendMsg implements grpc.ClientStream.
func (r *routed) SendMsg(x any) error {
	if r.final.Load() {
		return r.now.Load().SendMsg(x)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if f, ok := x.(*frame); ok && !r.any && f.data.Len() <= maxKept && !r.final.Load() {
		r.any, r.kept = true, f.data
		r.kept.Ref()
	} else {
		r.settle()
	}
	err := r.now.Load().SendMsg(x)
	if err == io.EOF && !r.final.Load() {
		return nil // RecvMsg finds out why, and whether there is another node
	}
	return err
}

// CloseSend implements grpc.ClientStream.
func (r *routed) CloseSend() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return r.now.Load().CloseSend()
}

// RecvMsg implements grpc.ClientStream.
func (r *routed) RecvMsg(x any) error {
	a := r.now.Load()
	err := a.RecvMsg(x)
	if errors.Code(err) == codes.Unavailable && !a.answered.Load() {
		a.node.eject()
		if again := r.again(a); again != nil {
			return again.RecvMsg(x)
		}
	}
	if !r.final.Load() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.settle()
	}
	if errors.Code(err) == codes.Unavailable && !a.ended.Load() && a.node.replaced() {
		return errors.New(codes.Unavailable, "service %s: the instance that had this call was replaced, make it again", r.call.Service).
			For(replacedReason).From("go.micro.client").Because(err)
	}
	return err
}

// replacedReason is for the programs of those whose stream has ended because its
// instance did, so that they open it again.
const replacedReason = "replaced"

// again makes the call at another node, nil if that is not to be.
func (r *routed) again(broken *attempt) *attempt {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.final.Load() || broken.sent.Load() && !r.call.target.idempotent() {
		return nil
	}
	n := r.call.another(r.ctx, []*node{broken.node})
	if n == nil {
		return nil
	}
	a, err := r.call.openAt(r.ctx, n, r.desc, r.opts)
	if err != nil {
		return nil
	}
	sent := true
	if r.any {
		kept := r.kept
		r.kept = nil
		sent = a.SendMsg(&frame{kept}) == nil
	}
	if sent && r.closed {
		_ = a.CloseSend() // if it broke as well, it says so when it is asked for an answer
	}
	r.now.Store(a)
	r.settle()
	return a
}

// settle ends the time in which another node could be tried. It wants mu held.
func (r *routed) settle() {
	r.final.Store(true)
	r.kept.Free()
	r.kept = nil
}

// Header implements grpc.ClientStream.
func (r *routed) Header() (metadata.MD, error) { return r.now.Load().Header() }

// Trailer implements grpc.ClientStream.
func (r *routed) Trailer() metadata.MD { return r.now.Load().Trailer() }

// Context implements grpc.ClientStream.
func (r *routed) Context() context.Context { return r.now.Load().Context() }
