// Package client calls other services through the platform. Generated code has
// typed clients on top of it:
//
//	rsp, err := pb.NewHelloworldService("helloworld", srv.Client()).Call(ctx, &pb.Request{Name: "x"})
//
// A call made while another one is being handled goes on as its caller, with
// its deadline and trace. WithAuthToken makes it the service's own, which calls
// made with any other context are anyway.
package client

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/framework/internal/codec"
)

// Client makes calls. It is an interface so that handlers can be tested without
// a platform.
type Client interface {
	// NewRequest names an endpoint of a service, such as "Helloworld.Call", and
	// what to send it: a message, or anything JSON with ContentType.
	NewRequest(service, endpoint string, body any, opts ...RequestOption) Request
	// Call makes a call and reads the answer into rsp. Its errors are of type
	// *errors.Error.
	Call(ctx context.Context, req Request, rsp any, opts ...CallOption) error
	// Stream opens a stream and sends the request's body, unless that is nil.
	Stream(ctx context.Context, req Request, opts ...CallOption) (Stream, error)
}

// Options are what a Client needs to know of the service that it calls for.
type Options struct {
	// Namespace is the service's.
	Namespace string
	// Token answers the service's own access token, or "" if it has none.
	Token func(ctx context.Context) (string, error)
}

// New makes a Client of a connection to the platform.
func New(conn grpc.ClientConnInterface, o Options) Client { return &client{conn, o} }

// Request is a call that can be made.
type Request struct {
	service, endpoint string
	subtype           string
	body              any
}

// RequestOption changes a Request.
type RequestOption func(*Request)

// WithContentType chooses how messages are written: "application/json", or
// "application/protobuf", which is the default. In JSON, anything that
// encoding/json knows may be sent and received, json.RawMessage too.
func WithContentType(contentType string) RequestOption {
	return func(r *Request) {
		if strings.Contains(contentType, "json") {
			r.subtype = codec.JSON
		}
	}
}

type callOptions struct {
	ownToken bool
	timeout  time.Duration
}

// CallOption changes one call.
type CallOption func(*callOptions)

// WithAuthToken makes the call as the service itself, also while a call of
// somebody else is being handled.
func WithAuthToken() CallOption { return func(o *callOptions) { o.ownToken = true } }

// WithRequestTimeout bounds the call. Without it that is a minute, or what is
// left for the call being handled.
func WithRequestTimeout(d time.Duration) CallOption {
	return func(o *callOptions) { o.timeout = d }
}

const (
	defaultTimeout = time.Minute
	retryAfter     = 100 * time.Millisecond
)

type client struct {
	conn grpc.ClientConnInterface
	opts Options
}

func (c *client) NewRequest(service, endpoint string, body any, opts ...RequestOption) Request {
	r := Request{service: service, endpoint: endpoint, subtype: codec.Proto, body: body}
	for _, o := range opts {
		o(&r)
	}
	return r
}

func (c *client) Call(ctx context.Context, req Request, rsp any, opts ...CallOption) error {
	o := callOptions{timeout: defaultTimeout}
	for _, set := range opts {
		set(&o)
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout) // an earlier deadline stays
	defer cancel()
	err := c.call(ctx, req, rsp, o)
	if err == nil {
		return nil
	}
	// Nothing has been sent then, so that once more is safe.
	if e := errors.FromError(err); errors.Code(e) != codes.Unavailable || !strings.Contains(e.Detail, "connection refused") {
		return e
	}
	select {
	case <-time.After(retryAfter):
	case <-ctx.Done():
	}
	if err := c.call(ctx, req, rsp, o); err != nil {
		return errors.FromError(err)
	}
	return nil
}

func (c *client) call(ctx context.Context, req Request, rsp any, o callOptions) error {
	path, err := req.path()
	if err != nil {
		return err
	}
	ctx, end, err := c.outgoing(ctx, req, o.ownToken)
	if err != nil {
		return err
	}
	defer end()
	in, out := &codec.Message{Subtype: req.subtype, Value: req.body}, &codec.Message{Subtype: req.subtype, Value: rsp}
	if err := c.conn.Invoke(ctx, path, in, out, options(req)...); err != nil {
		return err
	}
	if out.Err != nil {
		return errors.New(codes.Internal, "the answer of %s %s: %v", req.service, req.endpoint, out.Err).From("go.micro.client")
	}
	return nil
}

func options(req Request) []grpc.CallOption {
	return []grpc.CallOption{grpc.ForceCodecV2(codec.GRPC{}), grpc.CallContentSubtype(req.subtype)}
}

// path is "/service.Handler/Method".
func (r Request) path() (string, error) {
	handler, method, ok := strings.Cut(r.endpoint, ".")
	if r.service == "" || !ok || handler == "" || method == "" {
		return "", errors.New(codes.InvalidArgument, "no endpoint %q of service %q: write Handler.Method", r.endpoint, r.service).From("go.micro.client")
	}
	return "/" + r.service + "." + handler + "/" + method, nil
}

// Service is whom the request is for.
func (r Request) Service() string { return r.service }

// Endpoint is "Handler.Method".
func (r Request) Endpoint() string { return r.endpoint }

// Body is what is sent.
func (r Request) Body() any { return r.body }
