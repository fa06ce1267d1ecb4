package rpc

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/micro/platform/framework/errors"
)

// Server is a component's server. Its unary methods can also be called in its
// own process without a transport, which costs an edge a third of a call.
type Server struct {
	*grpc.Server

	intercept grpc.UnaryServerInterceptor
	end       context.CancelCauseFunc // of all streams
	methods   map[string]localMethod
}

type localMethod struct {
	impl    any
	handler grpc.MethodHandler
}

// RegisterService implements grpc.ServiceRegistrar.
func (s *Server) RegisterService(d *grpc.ServiceDesc, impl any) {
	readable := *d
	readable.Methods = slices.Clone(d.Methods)
	for i, m := range d.Methods {
		handler := decoded(d.ServiceName, m)
		readable.Methods[i].Handler = handler
		s.methods["/"+d.ServiceName+"/"+m.MethodName] = localMethod{impl, handler}
	}
	s.Server.RegisterService(&readable, impl)
}

// decoded is a method that says to its caller what it cannot read. gRPC calls it
// an internal error.
func decoded(service string, m grpc.MethodDesc) grpc.MethodHandler {
	return func(impl any, ctx context.Context, dec func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
		return m.Handler(impl, ctx, func(v any) error {
			if err := dec(v); err != nil {
				return unreadable(err).From(errorID("/" + service + "/" + m.MethodName))
			}
			return nil
		}, interceptor)
	}
}

// unreadable is about a message of the client's that is no message of the method,
// or has text that is not UTF-8.
func unreadable(err error) *errors.Error {
	return errors.New(codes.InvalidArgument, "cannot decode the request: %s", errors.Clip(status.Convert(err).Message()))
}

// Has says whether Call knows a method and an encoding.
func (s *Server) Has(method, subtype string) bool {
	_, ok := s.methods[method]
	return ok && (subtype == "" || subtype == "proto" || subtype == "json")
}

// Answer is what a call has brought, its message in the encoding of the request.
type Answer struct {
	Message         mem.BufferSlice
	Header, Trailer metadata.MD
}

// Call makes a unary call with the metadata that would have come over the wire.
// It passes the same interceptors, and ends in the same errors.
func (s *Server) Call(ctx context.Context, method, subtype string, md metadata.MD, request mem.BufferSlice) (Answer, error) {
	m, codec := s.methods[method], localCodec(subtype)
	sent := &localStream{method: method}
	ctx = grpc.NewContextWithServerTransportStream(metadata.NewIncomingContext(ctx, md), sent)
	rsp, err := m.handler(m.impl, ctx, func(v any) error {
		return codec.Unmarshal(request, v)
	}, s.intercept)
	a := Answer{}
	if err == nil {
		if a.Message, err = codec.Marshal(rsp); err != nil {
			err = fmt.Errorf("encode the answer of %s: %w", method, err)
		}
	}
	a.Header, a.Trailer = sent.taken()
	return a, status.Convert(err).Err()
}

func localCodec(subtype string) encoding.CodecV2 {
	if subtype == "json" {
		return bytesCodec{jsonCodec{}}
	}
	return encoding.GetCodecV2("proto")
}

// bytesCodec is a codec of bytes as one of buffers.
type bytesCodec struct{ encoding.Codec }

func (c bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, err := c.Codec.Marshal(v)
	return mem.BufferSlice{mem.SliceBuffer(b)}, err
}

func (c bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	return c.Codec.Unmarshal(data.Materialize(), v)
}

// localStream takes the headers and trailers that a handler sets.
type localStream struct {
	method string

	mu              sync.Mutex
	header, trailer metadata.MD
}

// Method implements grpc.ServerTransportStream.
func (s *localStream) Method() string { return s.method }

// SetHeader implements grpc.ServerTransportStream.
func (s *localStream) SetHeader(md metadata.MD) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.header = metadata.Join(s.header, md)
	return nil
}

// SendHeader implements grpc.ServerTransportStream.
func (s *localStream) SendHeader(md metadata.MD) error { return s.SetHeader(md) }

// SetTrailer implements grpc.ServerTransportStream.
func (s *localStream) SetTrailer(md metadata.MD) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trailer = metadata.Join(s.trailer, md)
	return nil
}

func (s *localStream) taken() (header, trailer metadata.MD) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.header), maps.Clone(s.trailer)
}
