package rpc

import (
	"context"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc/filters"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/micro/platform/internal/identity"
)

// TokenSource answers the token of the component that calls.
type TokenSource func(ctx context.Context) (string, error)

// callTimeout bounds a unary call between components that has no deadline.
const callTimeout = 30 * time.Second

// NewClient makes a connection to another component. Calls carry the token of
// the caller in the context, so that the callee verifies the same person; with
// identity.AsComponent they carry the component's own, as they do for a caller
// that is itself a component: its token is for who it called. Nothing is dialled
// before the first call.
func NewClient(target string, own TokenSource, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	c := &caller{own: own}
	conn, err := grpc.NewClient(target, append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(c.dial),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage)),
		grpc.WithStatsHandler(otelgrpc.NewClientHandler(otelgrpc.WithFilter(filters.Not(filters.HealthCheck())))),
		// A component that hangs is noticed within 30 s also by those who only listen to
		// it; one whose host is gone at once, by Dial.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithChainUnaryInterceptor(c.unary),
		grpc.WithChainStreamInterceptor(c.stream),
	}, opts...)...)
	if err != nil {
		return nil, err
	}
	go c.watch(conn) // ends with Close
	return conn, nil
}

// caller makes the calls of a connection.
type caller struct {
	own TokenSource
	patience
}

func (c *caller) unary(ctx context.Context, method string, req, rsp any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	ctx, err := c.sign(ctx)
	if err != nil {
		return err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTimeout)
		defer cancel()
	}
	return c.try(ctx, cc, func() (taken bool, err error) {
		var by peer.Peer
		err = invoke(ctx, method, req, rsp, cc, append(opts, grpc.Peer(&by))...)
		return by.Addr != nil, err
	})
}

func (c *caller) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	ctx, err := c.sign(ctx)
	if err != nil {
		return nil, err
	}
	var s grpc.ClientStream
	err = c.try(ctx, cc, func() (taken bool, err error) {
		s, err = open(ctx, desc, cc, method, opts...)
		return err == nil, err
	})
	return s, err
}

func (c *caller) sign(ctx context.Context) (context.Context, error) {
	if md, ok := metadata.FromOutgoingContext(ctx); ok && len(md.Get("authorization")) > 0 {
		return ctx, nil // the edge passes metadata on as it decided
	}
	token := ""
	person, ok := identity.From(ctx)
	if identity.CallsAsComponent(ctx) || person.IsComponent() {
		own, err := c.own(ctx)
		if err != nil {
			return nil, err
		}
		token = own
	} else if ok {
		token = person.Token
	}
	if token == "" {
		return ctx, nil
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token), nil
}
