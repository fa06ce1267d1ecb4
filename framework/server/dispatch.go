package server

import (
	"context"
	"io"
	"reflect"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/framework/internal/codec"
	"github.com/micro/platform/framework/internal/tracing"
)

// dispatch handles every call that is not for health or reflection. The service
// part of the path is not compared: whoever got here was sent here.
func (s *Server) dispatch(_ any, in grpc.ServerStream) (err error) {
	path, _ := grpc.MethodFromServerStream(in)
	service, handler, name := split(path)
	defer func() {
		err = s.finish(in.Context(), service+"."+handler+"."+name, recover(), err)
		s.debug.Count(err)
	}()

	contentType := first(in.Context(), "content-type")
	subtype, ok := codec.Subtype(contentType)
	if !ok {
		return errors.NewHTTP(500, "Unsupported Content-Type: %s", contentType).From("go.micro.server")
	}
	m, ok := s.methods[handler+"."+name]
	if !ok {
		// Clients match this text, and that it is not JSON.
		return status.Errorf(codes.Unimplemented, "unknown service %s.%s", handler, name)
	}
	ctx, span := otel.Tracer("github.com/micro/platform/framework/server").Start(
		propagation.TraceContext{}.Extract(in.Context(), tracing.Incoming(in.Context())),
		m.name, trace.WithSpanKind(trace.SpanKindServer))
	defer span.End()
	if token, ok := strings.CutPrefix(first(ctx, "authorization"), "Bearer "); ok {
		ctx = s.verifier.Context(ctx, token)
	}
	if m.stream != nil {
		return m.serveStream(&stream{in, ctx, subtype})
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	return m.serveUnary(&stream{in, ctx, subtype})
}

func (m method) serveUnary(s *stream) error {
	req, rsp := reflect.New(m.request), reflect.New(m.response)
	if err := s.first(req.Interface()); err != nil {
		return err
	}
	if err := m.invoke(reflect.ValueOf(s.ctx), req, rsp); err != nil {
		return err
	}
	return s.SendMsg(rsp.Interface())
}

// serveStream reads the one request of a server stream as soon as it is there:
// Micro clients do not say that they send no more.
func (m method) serveStream(s *stream) error {
	if m.request == nil {
		return m.invoke(reflect.ValueOf(s.ctx), m.wrap(s))
	}
	req := reflect.New(m.request)
	if err := s.first(req.Interface()); err != nil {
		return err
	}
	return m.invoke(reflect.ValueOf(s.ctx), req, m.wrap(s))
}

// stream implements Stream with the caller's codec.
type stream struct {
	in      grpc.ServerStream
	ctx     context.Context
	subtype string
}

func (s *stream) Context() context.Context { return s.ctx }

func (s *stream) SendMsg(m any) error {
	return s.in.SendMsg(&codec.Message{Subtype: s.subtype, Value: m})
}

func (s *stream) RecvMsg(m any) error {
	msg := codec.Message{Subtype: s.subtype, Value: m}
	if err := s.in.RecvMsg(&msg); err != nil {
		return err
	}
	if msg.Err != nil {
		return errors.New(codes.InvalidArgument, "%v", msg.Err)
	}
	return nil
}

// first reads the message that a call begins with.
func (s *stream) first(m any) error {
	err := s.RecvMsg(m)
	if err == io.EOF {
		return errors.New(codes.InvalidArgument, "the call has no message")
	}
	return err
}

// bound applies the deadline of Micro clients, nanoseconds in "timeout"; gRPC
// has applied its own.
func bound(ctx context.Context) (context.Context, context.CancelFunc) {
	left, err := strconv.ParseInt(first(ctx, "timeout"), 10, 64)
	if err != nil || left <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Duration(left))
}

// finish turns what a handler returned into what the caller gets. A decision
// for the caller goes out as it is, anything else is logged and hidden.
func (s *Server) finish(ctx context.Context, id string, panicked any, err error) error {
	if panicked != nil {
		s.log.ErrorContext(ctx, "panic in a handler", "endpoint", id, "panic", panicked, "stack", string(debug.Stack()))
		return errors.New(codes.Internal, "panic recovered in %s", id).From(id)
	}
	if err == nil {
		return nil
	}
	var decided *errors.Error
	if errors.As(err, &decided) {
		if cause := decided.Unwrap(); cause != nil {
			s.log.WarnContext(ctx, "call failed", "endpoint", id, "detail", decided.Detail, "error", cause)
		}
		return decided.From(id)
	}
	if st, ok := status.FromError(err); ok {
		if st.Code() == codes.Unimplemented && strings.HasPrefix(st.Message(), "unknown service ") {
			return status.Error(st.Code(), st.Message())
		}
		out := *errors.FromError(err)
		out.ID = id
		return &out
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New(codes.DeadlineExceeded, "%v", context.DeadlineExceeded).From(id)
	case errors.Is(err, context.Canceled):
		return errors.New(codes.Canceled, "%v", context.Canceled).From(id)
	}
	s.log.ErrorContext(ctx, "call failed", "endpoint", id, "error", err)
	return errors.New(codes.Internal, "internal error").From(id)
}

// split takes "/service.Handler/Method" apart; the service may have dots.
func split(path string) (service, handler, method string) {
	path = strings.TrimPrefix(path, "/")
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		path, method = path[:i], path[i+1:]
	}
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		return path[:i], path[i+1:], method
	}
	return "", path, method
}

func first(ctx context.Context, key string) string {
	if values := metadata.ValueFromIncomingContext(ctx, key); len(values) > 0 {
		return values[0]
	}
	return ""
}
