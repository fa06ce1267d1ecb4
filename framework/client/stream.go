package client

import (
	"context"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/framework/internal/codec"
)

// Stream is the caller's side of a stream. Generated code has typed ones.
type Stream interface {
	Context() context.Context
	// SendMsg sends a message.
	SendMsg(m any) error
	// RecvMsg reads the next message into m. It answers io.EOF when the other
	// side has ended the stream well.
	RecvMsg(m any) error
	// CloseSend says that no more is sent.
	CloseSend() error
	// Close ends the stream, whatever is still to come. It must be called,
	// unless RecvMsg has answered an error.
	Close() error
}

// Stream has no timeout of its own: a stream may go on for ever.
func (c *client) Stream(ctx context.Context, req Request, opts ...CallOption) (Stream, error) {
	var o callOptions
	for _, set := range opts {
		set(&o)
	}
	path, err := req.path()
	if err != nil {
		return nil, err
	}
	ctx, cancel := bound(ctx, o.timeout)
	out, end, err := c.outgoing(ctx, req, o.ownToken)
	if err != nil {
		cancel()
		return nil, err
	}
	s, err := c.conn.NewStream(out, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, path, options(req)...)
	if err != nil {
		cancel()
		end()
		return nil, errors.FromError(err)
	}
	st := &stream{ClientStream: s, subtype: req.subtype, end: func() { cancel(); end() }}
	if req.body == nil {
		return st, nil
	}
	if err := st.SendMsg(req.body); err != nil {
		st.end()
		return nil, err
	}
	return st, nil
}

type stream struct {
	grpc.ClientStream
	subtype string
	end     func()
}

// SendMsg answers io.EOF when the other side has ended the stream; RecvMsg has
// the reason.
func (s *stream) SendMsg(m any) error {
	err := s.ClientStream.SendMsg(&codec.Message{Subtype: s.subtype, Value: m})
	if err == nil || err == io.EOF {
		return err
	}
	return errors.FromError(err)
}

func (s *stream) RecvMsg(m any) error {
	msg := codec.Message{Subtype: s.subtype, Value: m}
	err := s.ClientStream.RecvMsg(&msg)
	switch {
	case err == io.EOF:
		s.end()
		return err
	case err != nil:
		s.end()
		return errors.FromError(err)
	case msg.Err != nil:
		return errors.New(codes.Internal, "%v", msg.Err).From("go.micro.client")
	}
	return nil
}

func (s *stream) Close() error {
	s.end()
	return nil
}

func bound(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout > 0 {
		return context.WithTimeout(ctx, timeout)
	}
	return context.WithCancel(ctx)
}
