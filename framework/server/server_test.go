package server_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/micro/platform/framework/auth"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/framework/server"
	"github.com/micro/platform/framework/testdata/echo"
	registrypb "github.com/micro/platform/proto/registry"
)

// handler serves Echo, and has a method that is none of its RPCs.
type handler struct{}

func (handler) Say(_ context.Context, req *echo.SayRequest, rsp *echo.SayResponse) error {
	rsp.Text = req.Text
	return nil
}
func (handler) Count(_ context.Context, req *echo.CountRequest, s echo.Echo_CountStream) error {
	return s.Send(&echo.CountResponse{Count: req.To})
}
func (handler) Sum(context.Context, echo.Echo_SumStream) error { return nil }
func (handler) Chat(_ context.Context, s echo.Echo_ChatStream) error {
	_, err := s.Recv()
	return err
}
func (handler) Secret(context.Context, *echo.SayRequest, *echo.SayResponse) error { return nil }

// Plain is a handler with messages that are not of a .proto.
type Plain struct{}

// Tree has fields that are only JSON.
type Tree struct {
	Name   string  `json:"name"`
	Leaves []*Tree `json:"leaves"`
	Next   *Tree   `json:"next,omitempty"`
	Hidden string  `json:"-"`
	As     int
}

// Grow is an RPC.
func (Plain) Grow(_ context.Context, req *Tree, rsp *Tree) error {
	rsp.Name = req.Name + "!"
	return nil
}

// Raw is an RPC, with a stream that is not wrapped.
func (Plain) Raw(_ context.Context, s server.Stream) error { return s.SendMsg(&Tree{Name: "raw"}) }

// Other is none.
func (Plain) Other(string) {}

func serve(t *testing.T) (*server.Server, *grpc.ClientConn) {
	t.Helper()
	s := server.New("echo", slog.New(slog.DiscardHandler), auth.NewVerifier(nil))
	if err := echo.RegisterEchoHandler(s, handler{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Handle(Plain{}); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l) //nolint:errcheck // ends with Stop
	t.Cleanup(func() { s.Stop(context.Background()) })
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return s, conn
}

// text sends bytes as they are.
type text struct{}

func (text) Name() string                    { return "text" }
func (text) Marshal(v any) ([]byte, error)   { return []byte(v.(string)), nil }
func (text) Unmarshal(b []byte, v any) error { *v.(*string) = string(b); return nil }
func (text) options(s string) []grpc.CallOption {
	return []grpc.CallOption{grpc.ForceCodec(text{}), grpc.CallContentSubtype(s)}
}

func TestDispatch(t *testing.T) {
	t.Parallel()
	_, conn := serve(t)
	for _, tt := range []struct {
		name, path, subtype, in, want string
		code                          codes.Code
	}{
		{"another service's name", "/a.b.c.Echo/Say", "json", `{"text":"x"}`, `"text":"x"`, codes.OK},
		{"plain struct", "/echo.Plain/Grow", "json", `{"name":"x"}`, `"name":"x!"`, codes.OK},
		{"plain struct as proto", "/echo.Plain/Grow", "proto", "", "", codes.InvalidArgument},
		{"proto", "/echo.Echo/Say", "proto", "\n\x01x", "\n\x01x", codes.OK},
		{"no message in it", "/echo.Echo/Say", "json", "", `"text":""`, codes.OK},
		{"unknown codec", "/echo.Echo/Say", "xml", "<a/>", `"code":500,"detail":"Unsupported Content-Type: application/grpc+xml"`, codes.Internal},
		{"method that the .proto does not have", "/echo.Echo/Secret", "json", "{}", "unknown service Echo.Secret", codes.Unimplemented},
		{"no handler", "/Say", "json", "{}", "malformed method name", codes.Unimplemented},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out string
			err := conn.Invoke(t.Context(), tt.path, tt.in, &out, text{}.options(tt.subtype)...)
			if status.Code(err) != tt.code {
				t.Fatalf("%s: %v, want %s", tt.path, err, tt.code)
			}
			if err != nil {
				out = status.Convert(err).Message()
			}
			if !strings.Contains(strings.ReplaceAll(out, `": `, `":`), tt.want) {
				t.Errorf("%s: %q, want %q", tt.path, out, tt.want)
			}
			if st := status.Convert(err); len(st.Details()) > 0 {
				t.Errorf("the status has details: %v", st.Details())
			}
		})
	}
}

// TestStreamWithoutHalfClose is how Micro clients call server streams.
func TestStreamWithoutHalfClose(t *testing.T) {
	t.Parallel()
	_, conn := serve(t)
	s, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/echo.Echo/Count", text{}.options("json")...)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SendMsg(`{"to":7}`); err != nil {
		t.Fatal(err)
	}
	var out string
	if err := s.RecvMsg(&out); err != nil || !strings.Contains(out, "7") {
		t.Errorf("answer %q, %v", out, err)
	}
	if err := s.RecvMsg(&out); err != io.EOF {
		t.Errorf("end: %v", err)
	}
}

func TestBadMessageInStream(t *testing.T) {
	t.Parallel()
	_, conn := serve(t)
	s, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/echo.Echo/Chat", text{}.options("json")...)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SendMsg(`{"text":1}`); err != nil {
		t.Fatal(err)
	}
	var out string
	if err := errors.FromError(s.RecvMsg(&out)); err == nil || err.HTTP != 400 || err.ID != "echo.Echo.Chat" {
		t.Errorf("got %+v", err)
	}
}

// TestTimeout is the deadline as Micro clients send it.
func TestTimeout(t *testing.T) {
	t.Parallel()
	s := server.New("slow", slog.New(slog.DiscardHandler), auth.NewVerifier(nil))
	if err := s.Handle(Slow{}); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l) //nolint:errcheck // ends with Stop
	t.Cleanup(func() { s.Stop(context.Background()) })
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	var out string
	ctx := metadata.AppendToOutgoingContext(t.Context(), "timeout", "1000000")
	if err := errors.FromError(conn.Invoke(ctx, "/slow.Slow/Wait", "{}", &out, text{}.options("json")...)); err == nil || err.HTTP != 408 {
		t.Errorf("got %+v", err)
	}
}

// Slow is a handler that waits for its deadline.
type Slow struct{}

// Wait is an RPC.
func (Slow) Wait(ctx context.Context, _ *Tree, _ *Tree) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	s, _ := serve(t)
	var got []string
	for _, e := range s.Endpoints() {
		got = append(got, e.GetName()+" "+e.GetMetadata()["stream"]+" "+show(e.GetRequest())+" "+show(e.GetResponse()))
	}
	const everything = "everything:Everything{yes:bool u32:uint32 u64:uint64 f32:float32 f64:float64 raw:[]uint8 mood:Mood words:[]string" +
		" numbers:[]Number counts:map[string]int32 by_name:map[string]Number again:Everything{…} maybe:string inner:Everything_Inner{deep:string}" +
		" at:Timestamp{seconds:int64 nanos:int32}}"
	answer := "SayResponse:SayResponse{text:string big_number:int64 raw:[]uint8 mood:Mood " + everything + "}"
	want := []string{
		"Echo.Chat true SayRequest:SayRequest{text:string big_number:int64} " + answer,
		"Echo.Count true CountRequest:CountRequest{to:int32} CountResponse:CountResponse{count:int32}",
		"Echo.Say  SayRequest:SayRequest{text:string big_number:int64} " + answer,
		"Echo.Sum true Number:Number{value:int64} Number:Number{value:int64}",
		"Plain.Grow  Tree:Tree{name:string leaves:[]Tree next:Tree{…} As:int} Tree:Tree{name:string leaves:[]Tree next:Tree{…} As:int}",
		"Plain.Raw true Context:Context Stream:Stream",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var twice []string
	for _, e := range s.Endpoints() {
		if e.GetMetadata()["idempotent"] == "true" {
			twice = append(twice, e.GetName())
		}
	}
	if got := strings.Join(twice, " "); got != "Echo.Count Echo.Say" {
		t.Errorf("calls of %s may be made twice", got)
	}
}

// show writes a tree on one line, and checks where a recursive one ends.
func show(v *registrypb.Value) string { return showIn(v, nil) }

func showIn(v *registrypb.Value, above []string) string {
	s := v.GetName() + ":" + v.GetType()
	if len(v.GetValues()) == 0 {
		return s
	}
	for _, t := range above {
		if t == v.GetType() {
			return s + "{…}"
		}
	}
	var fields []string
	for _, f := range v.GetValues() {
		fields = append(fields, showIn(f, append(above, v.GetType())))
	}
	return s + "{" + strings.Join(fields, " ") + "}"
}

func TestRecursionEnds(t *testing.T) {
	t.Parallel()
	s, _ := serve(t)
	v, depth := s.Endpoints()[4].GetRequest(), 0
	for ; v != nil; depth++ {
		var next *registrypb.Value
		for _, f := range v.GetValues() {
			if f.GetName() == "next" {
				next = f
			}
		}
		v = next
	}
	if depth != 7 { // the message and six levels below it
		t.Errorf("%d levels", depth)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	s, conn := serve(t)
	check := func() grpc_health_v1.HealthCheckResponse_ServingStatus {
		rsp, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true))
		if err != nil {
			t.Fatal(err)
		}
		return rsp.GetStatus()
	}
	if got := check(); got != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("health is %s", got)
	}
	s.Drain()
	if got := check(); got != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health is %s while draining", got)
	}
}

func TestReflection(t *testing.T) {
	t.Parallel()
	_, conn := serve(t)
	s, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(req *reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse {
		if err := s.Send(req); err != nil {
			t.Fatal(err)
		}
		rsp, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return rsp
	}
	var names []string
	list := ask(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}})
	for _, s := range list.GetListServicesResponse().GetService() {
		names = append(names, s.GetName())
	}
	if got := strings.Join(names, " "); got != "echo.Echo grpc.health.v1.Health grpc.reflection.v1.ServerReflection" {
		t.Errorf("services: %s", got)
	}
	file := ask(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "echo.Echo"}})
	if len(file.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
		t.Errorf("no descriptor: %v", file)
	}
}

func TestHandle(t *testing.T) {
	t.Parallel()
	s, _ := serve(t)
	for _, tt := range []struct {
		name    string
		handler any
		want    string
	}{
		{"twice", Plain{}, "there are two handlers of Plain.Grow"},
		{"no RPC", Tree{}, "handler Tree has no method of the form"},
		{"unexported", handler{}, "the type of a handler is exported"},
	} {
		if err := s.Handle(tt.handler); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
