package edgetest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/micro/platform/framework/errors"
	registrypb "github.com/micro/platform/proto/registry"
)

// Service is a service of a tenant, on a port of its own. It answers in JSON:
//
//	Echo.Call    what it was sent, its name, and the metadata that it saw
//	Echo.Fail    the error that it was sent
//	Echo.Stream  what it was sent, three times
//	Echo.Chat    each message that it was sent, or the error if it has a code
//	Echo.Wait    nothing, until the caller is gone
//	Echo.Silent  the same, as a stream
//	Echo.Late    what it was sent, then an error
//	Echo.Flood   one message after the other, until the caller is gone
type Service struct {
	Name    string
	Address string
	// Calls counts what has reached it.
	Calls atomic.Int64
	// Open counts the calls that it is busy with.
	Open atomic.Int64

	server *grpc.Server
}

// NewService starts a service.
func NewService(t testing.TB, name string) *Service {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Service{Name: name, Address: l.Addr().String()}
	s.server = grpc.NewServer(grpc.ForceServerCodec(text{}), grpc.UnknownServiceHandler(s.handle))
	go func() { _ = s.server.Serve(l) }() // ends by Stop
	t.Cleanup(s.server.Stop)
	return s
}

// Stop ends the service without a word to the registry.
func (s *Service) Stop() { s.server.Stop() }

// Leave ends the service when the calls that it has are answered, without a word
// to the registry.
func (s *Service) Leave() { s.server.GracefulStop() }

// Entry is the service as it registers.
func (s *Service) Entry() *registrypb.Service {
	field := func(name, typ string) *registrypb.Value { return &registrypb.Value{Name: name, Type: typ} }
	request := &registrypb.Value{Name: "Request", Type: "Request", Values: []*registrypb.Value{
		field("name", "string"), field("age", "int32"), field("big", "int64"), field("ok", "bool"), field("tags", "[]string"),
		field("first_name", "string"), field("ratio", "float64"), field("labels", "map[string]string"), field("data", "[]uint8"),
		{Name: "inner", Type: "Inner", Values: []*registrypb.Value{field("count", "int64")}},
	}}
	stream := map[string]string{"stream": "true"}
	return &registrypb.Service{
		Name: s.Name, Version: "latest",
		Nodes: []*registrypb.Node{{Id: s.Name + "-" + s.Address, Address: s.Address}},
		Endpoints: []*registrypb.Endpoint{
			{Name: "Echo.Call", Request: request}, {Name: "Echo.Fail"}, {Name: "Echo.Wait"},
			{Name: "Echo.Stream", Metadata: stream}, {Name: "Echo.Chat", Metadata: stream}, {Name: "Echo.Silent", Metadata: stream},
			{Name: "Echo.Late", Metadata: stream}, {Name: "Echo.Flood", Metadata: stream},
		},
	}
}

func (s *Service) handle(_ any, in grpc.ServerStream) error {
	s.Open.Add(1)
	defer s.Open.Add(-1)
	s.Calls.Add(1)
	method, _ := grpc.MethodFromServerStream(in)
	_, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	var body []byte
	if err := in.RecvMsg(&body); err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	switch name {
	case "Call":
		return in.SendMsg(s.echo(in.Context(), body))
	case "Fail":
		return errors.Parse(string(body))
	case "Stream":
		for range 3 {
			if err := in.SendMsg(body); err != nil {
				return err
			}
		}
		return nil
	case "Chat":
		return chat(in, body)
	case "Late":
		if err := in.SendMsg(body); err != nil {
			return err
		}
		return errors.Parse(`{"id":"echo","code":409,"detail":"late"}`)
	case "Flood":
		return flood(in)
	case "Wait", "Silent":
		<-in.Context().Done()
		return nil
	}
	return status.Errorf(codes.Unimplemented, "unknown service Echo.%s", name)
}

// flood sends until nobody takes it any more.
func flood(in grpc.ServerStream) error {
	page, err := json.Marshal(strings.Repeat("x", 64<<10))
	for err == nil {
		err = in.SendMsg(page)
	}
	return err
}

// chat answers each message with itself, until one is an error.
func chat(in grpc.ServerStream, body []byte) error {
	for {
		if e := errors.Parse(string(body)); e.ID == "echo" {
			return e
		}
		if err := in.SendMsg(body); err != nil {
			return err
		}
		if err := in.RecvMsg(&body); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
	}
}

// echo is what the service was sent and saw.
func (s *Service) echo(ctx context.Context, body []byte) []byte {
	answer := map[string]any{"service": s.Name, "metadata": Seen(ctx), "count": "1"}
	if json.Valid(body) {
		answer["sent"] = json.RawMessage(body)
	}
	b, err := json.Marshal(answer)
	if err != nil { // strings and valid JSON
		panic(err)
	}
	return b
}

// Seen is the metadata of an incoming call, the first value of each key.
func Seen(ctx context.Context) map[string]string {
	md, _ := metadata.FromIncomingContext(ctx)
	out := map[string]string{}
	for k, v := range md {
		out[k] = v[0]
	}
	return out
}

// text is a codec of bytes.
type text struct{}

var _ encoding.Codec = text{}

// Name implements encoding.Codec.
func (text) Name() string { return "json" }

// Marshal implements encoding.Codec.
func (text) Marshal(v any) ([]byte, error) {
	if b, ok := v.(*[]byte); ok {
		return *b, nil
	}
	return v.([]byte), nil
}

// Unmarshal implements encoding.Codec.
func (text) Unmarshal(b []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), b...)
	return nil
}

// Codec sends and receives bytes under the content subtype "json".
func Codec() grpc.CallOption { return grpc.ForceCodec(text{}) }
