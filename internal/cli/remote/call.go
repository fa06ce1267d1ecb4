package remote

import (
	"context"
	"fmt"
	"io"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/framework/errors"
)

// rawJSON hands JSON through as it is, under the name that Micro servers know.
type rawJSON struct{}

func (rawJSON) Name() string { return "json" }

func (rawJSON) Marshal(v any) ([]byte, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("%T is not JSON text", v)
	}
	return *b, nil
}

func (rawJSON) Unmarshal(data []byte, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("%T cannot hold JSON text", v)
	}
	*b = append([]byte(nil), data...)
	return nil
}

// Call is a call of somebody's service.
type Call struct {
	Service, Endpoint string
	// Namespace is where the service is; "" is the caller's own.
	Namespace string
	Metadata  map[string]string
	Body      []byte
}

// Context answers ctx with the namespace and the metadata of the call.
func (c Call) Context(ctx context.Context) context.Context {
	var pairs []string
	if c.Namespace != "" {
		pairs = append(pairs, "micro-namespace", c.Namespace)
	}
	for k, v := range c.Metadata {
		pairs = append(pairs, k, v)
	}
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}

func (c Call) jsonContext(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(c.Context(ctx), "x-content-type", "application/json")
}

func (c Call) path() string {
	return "/" + c.Service + "." + strings.Replace(c.Endpoint, ".", "/", 1)
}

// Unary calls an endpoint and answers the JSON that it answered.
func (c Call) Unary(ctx context.Context, conn grpc.ClientConnInterface) ([]byte, error) {
	var rsp []byte
	err := conn.Invoke(c.jsonContext(ctx), c.path(), &c.Body, &rsp, grpc.ForceCodec(rawJSON{}))
	return rsp, err
}

// Stream calls a streaming endpoint with one message and hands over each
// message that comes back, until the service ends the stream.
func (c Call) Stream(ctx context.Context, conn grpc.ClientConnInterface, each func([]byte) error) error {
	ctx, cancel := context.WithCancel(c.jsonContext(ctx))
	defer cancel()
	desc := &grpc.StreamDesc{StreamName: c.Endpoint, ServerStreams: true, ClientStreams: true}
	s, err := conn.NewStream(ctx, desc, c.path(), grpc.ForceCodec(rawJSON{}))
	if err != nil {
		return err
	}
	// io.EOF from sending means that the stream is over; receiving says why.
	if err := s.SendMsg(&c.Body); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	for {
		var rsp []byte
		err := s.RecvMsg(&rsp)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := each(rsp); err != nil {
			return err
		}
	}
}
