package edge

import (
	"context"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/internal/rpc"
)

// Client makes generated clients call through the Edge, as if from outside. The
// context's outgoing metadata is what the client sent.
type Client struct {
	Edge *Edge
	// Origin answers where the call in a context came in.
	Origin func(context.Context) rpc.Origin
	// Later has a function called when the answer to the call in a context is out:
	// until then the call is open.
	Later func(context.Context, func())
}

var _ grpc.ClientConnInterface = Client{}

// Invoke implements grpc.ClientConnInterface.
func (c Client) Invoke(ctx context.Context, method string, in, out any, opts ...grpc.CallOption) error {
	call, ctx, cancel, err := c.admit(ctx, method)
	if err != nil {
		return err
	}
	c.Later(ctx, call.Close)
	defer cancel()
	s, err := call.open(ctx, &grpc.StreamDesc{}, opts...)
	if err != nil {
		return call.explain(err)
	}
	if err := s.SendMsg(in); err != nil && err != io.EOF {
		return call.explain(err)
	}
	if err := s.RecvMsg(out); err != nil {
		return call.refusedWith(err, s.Trailer())
	}
	return call.hold(int(size(out)))
}

// NewStream implements grpc.ClientConnInterface.
func (c Client) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	call, ctx, cancel, err := c.admit(ctx, method)
	if err != nil {
		return nil, err
	}
	finish := grpc.OnFinish(func(err error) {
		cancel()
		if err != nil { // else the message that ends it is still to be counted
			call.end(err)
		}
		call.leave()
	})
	s, err := call.open(ctx, desc, append(opts, finish)...)
	if err != nil {
		cancel()
		call.Close()
		return nil, call.explain(err)
	}
	return explained{s, call}, nil
}

func (c Client) admit(ctx context.Context, method string) (*Call, context.Context, context.CancelFunc, error) {
	md, _ := metadata.FromOutgoingContext(ctx)
	ctx = metadata.NewOutgoingContext(ctx, nil) // what the Edge itself asks goes out under its own name
	call, err := c.Edge.Admit(ctx, Request{Method: method, Metadata: md, Origin: c.Origin(ctx)})
	if err != nil {
		return nil, nil, nil, err
	}
	ctx, cancel := call.Bound(ctx, nil)
	return call, ctx, cancel, nil
}

// explained is a stream whose errors are for the caller.
type explained struct {
	grpc.ClientStream
	call *Call
}

// Header answers the error of a stream that ended before it began, so that an
// HTTP answer can still have its status.
func (s explained) Header() (metadata.MD, error) {
	md, err := s.ClientStream.Header()
	if md == nil || err != nil {
		var none frame
		if err := s.RecvMsg(&none); err != nil && err != io.EOF {
			return nil, err
		}
	}
	return md, err
}

func (s explained) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err == io.EOF {
		return err
	}
	if err == nil {
		return s.call.hold(int(size(m)))
	}
	return s.call.refusedWith(err, s.Trailer())
}
