package edge

import (
	"context"
	"io"
	"net/http"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/framework/errors"
)

// ServerOptions are what a gRPC server needs whose calls go to Forward: messages
// stay bytes, in whatever encoding, and a call finds the connection that it came
// on.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.Creds(newClients()), grpc.ForceServerCodecV2(codec{"proto"}),
		grpc.InitialWindowSize(streamWindow), grpc.InitialConnWindowSize(connWindow),
		//lint:ignore SA1019 the other way is for all of the process, whose traces may be sent compressed
		grpc.RPCDecompressor(uncompressed{})}
}

const (
	// streamWindow is how many bytes a client may send on a stream that nobody has
	// read, beside the message that is being read. A stream of messages comes at
	// 2.6 MB/s at most over a round trip of 50 ms.
	streamWindow = 128 << 10
	// connWindow is how many it may have on their way on all streams. The server takes
	// them all, so it bounds the speed of a connection only.
	connWindow = 16 << 20
)

// uncompressed has compressed messages refused: what they take would be known too
// late. gzip is what the process has; for others gRPC has words of its own.
type uncompressed struct{}

// Do implements grpc.Decompressor.
func (uncompressed) Do(io.Reader) ([]byte, error) {
	return nil, errors.New(codes.Internal, "compressed messages are not taken, send it as it is")
}

// Type implements grpc.Decompressor.
func (uncompressed) Type() string { return gzip.Name }

// Forward passes the messages of in, which is on a server with ServerOptions, on
// to the callee, and those of the callee back, until the call is over. It closes
// the call as soon as its client has the last of them. The error is for the
// client.
func (c *Call) Forward(in grpc.ServerStream) error {
	client := newIncoming(in, c)
	defer client.finish()
	ctx := in.Context()
	md, _ := metadata.FromIncomingContext(ctx)
	if err := readable(c, contentSubtype(md)); err != nil {
		return err
	}
	return c.pipe(ctx, client, md)
}

// pipe copies messages both ways until the callee is done.
func (c *Call) pipe(ctx context.Context, in grpc.ServerStream, md metadata.MD) error {
	ctx, cancel := c.Bound(ctx, md)
	defer cancel()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	if encoding := contentSubtype(md); c.isLocal(encoding) {
		came := c.Await(fail)
		defer came()
		return c.explain(pipeLocal(ctx, c, in, came, encoding))
	}
	out, err := c.open(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, subtype(contentSubtype(md)))
	if err != nil {
		return c.explain(err)
	}
	came := c.Await(fail)
	defer came()
	// It ends when the call does, at the latest when the server's handler has.
	go func() {
		if err := up(in, out, came, c.target.halfClose); err != nil {
			fail(err)
		}
	}()
	err = down(out, in)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		if errors.FromError(cause).ID == "go.micro.proxy" { // our own words
			return cause
		}
	}
	return c.explain(err)
}

// pipeLocal passes a message on to a component of this process, and its answer
// back.
func pipeLocal(ctx context.Context, call *Call, in grpc.ServerStream, came func(), encoding string) error {
	request, err := first(ctx, in)
	if err != nil {
		call.end(err)
		return err
	}
	came()
	defer request.data.Free()
	a, err := call.callLocal(ctx, encoding, request.data)
	_ = in.SetHeader(answered(a.Header)) // fails only after the headers went out
	in.SetTrailer(answered(a.Trailer))
	if err != nil {
		return err
	}
	return in.SendMsg(&frame{a.Message})
}

// first answers the message of a unary call. Nothing but the end of a stream
// ends a RecvMsg, so it has a goroutine of its own.
func first(ctx context.Context, in grpc.ServerStream) (frame, error) {
	type received struct {
		frame
		err error
	}
	c := make(chan received, 1)
	go func() { // ends when the call does
		var r received
		r.err = in.RecvMsg(&r.frame)
		c <- r
	}()
	select {
	case r := <-c:
		if r.err == io.EOF {
			return frame{}, errors.New(codes.Internal, "a message was expected")
		}
		return r.frame, r.err
	case <-ctx.Done():
		if ctx.Err() == context.DeadlineExceeded {
			return frame{}, errors.New(codes.DeadlineExceeded, "%v", ctx.Err()).From("go.micro.client")
		}
		return frame{}, context.Cause(ctx)
	}
}

// up copies what the client sends, and says when the first of it came. The
// callee's refusals come back in down.
func up(in grpc.ServerStream, out grpc.ClientStream, came func(), halfClose bool) error {
	for {
		var f frame
		err := in.RecvMsg(&f)
		came()
		if err == io.EOF {
			return out.CloseSend()
		}
		if err != nil {
			return err
		}
		if err := out.SendMsg(&f); err != nil {
			return nil
		}
		if halfClose {
			return out.CloseSend()
		}
	}
}

// down copies what the callee sends, headers and trailers included.
func down(out grpc.ClientStream, in grpc.ServerStream) error {
	for first := true; ; first = false {
		var f frame
		err := out.RecvMsg(&f)
		if first {
			if md, err := out.Header(); err == nil {
				_ = in.SetHeader(answered(md))
			}
		}
		if err != nil {
			in.SetTrailer(answered(out.Trailer()))
			if err == io.EOF {
				return nil
			}
			return err
		}
		if err := in.SendMsg(&f); err != nil {
			return err
		}
	}
}

// answered is the metadata of an answer that goes on to the client: not what
// belongs to the hop, nor error details, which old clients cannot decode.
func answered(md metadata.MD) metadata.MD {
	out := metadata.MD{}
	for k, v := range md {
		if k != "content-type" && !strings.HasPrefix(k, "grpc-") && !strings.HasPrefix(k, "micro-") && !strings.HasPrefix(k, ":") {
			out[k] = v
		}
	}
	return out
}

// readable refuses encodings that the platform's own methods do not know, in the
// words of Micro's servers. Tenants' services answer for themselves.
func readable(c *Call, subtype string) error {
	switch subtype {
	case "", "proto", "json", "bytes":
		return nil
	}
	if !c.Platform() {
		return nil
	}
	return errors.NewHTTP(http.StatusInternalServerError, "Unsupported Content-Type: application/grpc+%s", errors.Clip(subtype)).From("go.micro.server")
}

// contentSubtype is "json" for "application/grpc+json", and "" for
// "application/grpc".
func contentSubtype(md metadata.MD) string {
	if v := md.Get("content-type"); len(v) > 0 {
		_, sub, _ := strings.Cut(v[0], "+")
		sub, _, _ = strings.Cut(sub, ";")
		return sub
	}
	return ""
}
