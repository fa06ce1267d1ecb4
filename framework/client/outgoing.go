package client

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/framework/internal/codec"
	"github.com/micro/platform/framework/internal/tracing"
	"google.golang.org/grpc/codes"
)

// outgoing is the metadata of a call: what the program set itself, then who is
// calling, for which namespace, the deadline and the trace. Of what came with
// the call being handled nothing else goes on, so that no caller can slip
// headers to the services behind this one.
func (c *client) outgoing(ctx context.Context, req Request, ownToken bool) (context.Context, func(), error) {
	md, _ := metadata.FromOutgoingContext(ctx)
	md = md.Copy()
	if md == nil {
		md = metadata.MD{}
	}
	if err := c.authorize(ctx, md, ownToken); err != nil {
		return nil, nil, err
	}
	if c.opts.Namespace != "" {
		md.Set("micro-namespace", c.opts.Namespace)
	}
	md.Set("x-content-type", "application/grpc+proto")
	if req.subtype == codec.JSON {
		md.Set("x-content-type", "application/json")
	}
	if deadline, ok := ctx.Deadline(); ok {
		md.Set("timeout", strconv.FormatInt(int64(max(time.Until(deadline), 1)), 10))
	}
	ctx, span := otel.Tracer("github.com/micro/platform/framework/client").Start(ctx,
		req.service+" "+req.endpoint, trace.WithSpanKind(trace.SpanKindClient))
	propagation.TraceContext{}.Inject(ctx, tracing.Carrier(md))
	return metadata.NewOutgoingContext(ctx, md), func() { span.End() }, nil
}

// authorize decides who is calling: whom the program said; the service itself,
// if asked for or nobody's call is being handled; else the caller of that call,
// who may be anonymous.
func (c *client) authorize(ctx context.Context, md metadata.MD, ownToken bool) error {
	in, handling := metadata.FromIncomingContext(ctx)
	switch {
	case len(md.Get("authorization")) > 0 && !ownToken:
		return nil
	case handling && !ownToken:
		if values := in.Get("authorization"); len(values) > 0 {
			md.Set("authorization", values[0])
		}
		return nil
	}
	token, err := c.opts.Token(ctx)
	if err != nil {
		return errors.New(codes.Unavailable, "the service has no token of its own yet").From("go.micro.client").Because(fmt.Errorf("get token: %w", err))
	}
	md.Delete("authorization")
	if token != "" {
		md.Set("authorization", "Bearer "+token)
	}
	return nil
}
