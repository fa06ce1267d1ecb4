package service

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/framework/auth"
	"github.com/micro/platform/framework/client"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/framework/testdata/echo"
)

// Echo is a handler with every kind of RPC.
type Echo struct {
	started chan struct{} // told when Say begins to wait
	release chan struct{} // what it waits for
}

func (h *Echo) Say(ctx context.Context, req *echo.SayRequest, rsp *echo.SayResponse) error {
	switch req.Text {
	case "panic":
		panic("told to")
	case "plain":
		return fmt.Errorf("a secret of the service")
	case "decided":
		return errors.NotFound("", "no %s", req.Text)
	case "wait":
		close(h.started)
		<-h.release
	case "trace":
		rsp.Text = trace.SpanContextFromContext(ctx).TraceID().String()
		return nil
	case "deadline":
		<-ctx.Done()
		return ctx.Err()
	case "who":
		if account, ok := auth.AccountFromContext(ctx); ok {
			rsp.Text = account.Issuer + "/" + account.ID
		}
		return nil
	}
	rsp.Text, rsp.BigNumber = req.Text, req.BigNumber
	return nil
}

func (h *Echo) Count(_ context.Context, req *echo.CountRequest, stream echo.Echo_CountStream) error {
	for i := range req.To {
		if err := stream.Send(&echo.CountResponse{Count: i}); err != nil {
			return err
		}
	}
	return nil
}

func (h *Echo) Sum(_ context.Context, stream echo.Echo_SumStream) error {
	var sum int64
	for {
		n, err := stream.Recv()
		if err == io.EOF {
			return stream.SendAndClose(&echo.Number{Value: sum})
		}
		if err != nil {
			return err
		}
		sum += n.Value
	}
}

func (h *Echo) Chat(_ context.Context, stream echo.Echo_ChatStream) error {
	for {
		m, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&echo.SayResponse{Text: m.Text}); err != nil {
			return err
		}
	}
}

// running is a service with its edge.
type running struct {
	*Service
	edge    *fakeEdge
	handler *Echo
	stop    context.CancelFunc
	done    chan error
}

func start(t *testing.T, edge *fakeEdge, env map[string]string) running {
	t.Helper()
	r := running{edge: edge, handler: &Echo{make(chan struct{}), make(chan struct{})}, done: make(chan error, 1)}
	r.Service = newService(edge.env(env), Name("echo"))
	if err := r.Handle(r.handler); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	r.stop = stop
	go func() { r.done <- r.run(ctx); close(r.done) }()
	t.Cleanup(func() { stop(); <-r.done })
	return r
}

func startEcho(t *testing.T) running {
	t.Helper()
	r := start(t, newEdge(t), nil)
	r.edge.waitFor(t, "echo", true)
	return r
}

func TestCalls(t *testing.T) {
	t.Parallel()
	r := startEcho(t)
	c := echo.NewEchoService("echo", r.Client())
	rsp, err := c.Say(t.Context(), &echo.SayRequest{Text: "hi", BigNumber: 1 << 60})
	if err != nil || rsp.Text != "hi" || rsp.BigNumber != 1<<60 {
		t.Errorf("Say = %v, %v", rsp, err)
	}

	count, err := c.Count(t.Context(), &echo.CountRequest{To: 3})
	if err != nil {
		t.Fatal(err)
	}
	for want := range int32(3) {
		if m, err := count.Recv(); err != nil || m.Count != want {
			t.Fatalf("Recv = %v, %v, want %d", m, err, want)
		}
	}
	if _, err := count.Recv(); err != io.EOF {
		t.Errorf("after the last: %v", err)
	}

	sum, err := c.Sum(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(4) {
		if err := sum.Send(&echo.Number{Value: i}); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := sum.CloseAndRecv(); err != nil || n.Value != 6 {
		t.Errorf("Sum = %v, %v", n, err)
	}

	chat, err := c.Chat(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer chat.Close()
	for _, text := range []string{"a", "b"} {
		if err := chat.Send(&echo.SayRequest{Text: text}); err != nil {
			t.Fatal(err)
		}
		if m, err := chat.Recv(); err != nil || m.Text != text {
			t.Fatalf("Recv = %v, %v, want %s", m, err, text)
		}
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	r := startEcho(t)
	for _, tt := range []struct{ name, in, want string }{
		{"names of the proto, all fields", `{"text":"hi"}`, `{"text":"hi", "big_number":"0", "raw":"", "mood":"UNKNOWN", "everything":null}`},
		{"lower camel and unknown", `{"bigNumber":"7","nothing":1}`, `{"text":"", "big_number":"7", "raw":"", "mood":"UNKNOWN", "everything":null}`},
		{"number for a 64-bit one", `{"big_number":7}`, `{"text":"", "big_number":"7", "raw":"", "mood":"UNKNOWN", "everything":null}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got, want any
			var raw json.RawMessage
			req := r.Client().NewRequest("echo", "Echo.Say", json.RawMessage(tt.in), client.WithContentType("application/json"))
			if err := r.Client().Call(t.Context(), req, &raw); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(raw, &got); err != nil {
				t.Fatal(err)
			}
			json.Unmarshal([]byte(tt.want), &want) //nolint:errcheck // of this file
			if !maps.Equal(got.(map[string]any), want.(map[string]any)) {
				t.Errorf("got %s, want %s", raw, tt.want)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	r := startEcho(t)
	call := func(service, endpoint, body string) *errors.Error {
		var rsp json.RawMessage
		req := r.Client().NewRequest(service, endpoint, json.RawMessage(body), client.WithContentType("application/json"))
		return errors.FromError(r.Client().Call(t.Context(), req, &rsp, client.WithRequestTimeout(2*time.Second)))
	}
	for _, tt := range []struct {
		name, service, endpoint, body, id, detail string
		http                                      int32
	}{
		{"decided", "echo", "Echo.Say", `{"text":"decided"}`, "echo.Echo.Say", "no decided", 404},
		{"plain is private", "echo", "Echo.Say", `{"text":"plain"}`, "echo.Echo.Say", "internal error", 500},
		{"panic", "echo", "Echo.Say", `{"text":"panic"}`, "echo.Echo.Say", "panic recovered in echo.Echo.Say", 500},
		{"malformed", "echo", "Echo.Say", `{"text":`, "echo.Echo.Say", "invalid JSON: ", 400},
		{"wrong type", "echo", "Echo.Say", `{"text":1}`, "echo.Echo.Say", "invalid JSON: (line 1:9): invalid value for string", 400},
		{"unknown method", "echo", "Echo.Nothing", `{}`, "go.micro.client", "unknown service Echo.Nothing", 501},
		{"unknown handler", "echo", "Nothing.Say", `{}`, "go.micro.client", "unknown service Nothing.Say", 501},
		{"unknown service", "nothing", "Echo.Say", `{}`, "", "service nothing: route not found", 500},
		{"endpoint without a dot", "echo", "Say", `{}`, "go.micro.client", "write Handler.Method", 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := call(tt.service, tt.endpoint, tt.body)
			if err == nil || err.ID != tt.id || err.HTTP != tt.http || !strings.Contains(err.Detail, tt.detail) {
				t.Errorf("got %+v, want %s %d %q", err, tt.id, tt.http, tt.detail)
			}
		})
	}
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	r := startEcho(t)
	_, err := echo.NewEchoService("echo", r.Client()).Say(t.Context(), &echo.SayRequest{Text: "deadline"}, client.WithRequestTimeout(50*time.Millisecond))
	if errors.Code(err) != codes.DeadlineExceeded {
		t.Fatalf("got %v", err)
	}
}

// TestWhoCalls is the rule of who a call is made as.
func TestWhoCalls(t *testing.T) {
	t.Parallel()
	r := startEcho(t)
	hour := time.Now().Add(time.Hour)
	alice := r.edge.token("alice", hour)
	handling := func(pairs ...string) context.Context {
		return metadata.NewIncomingContext(context.Background(), metadata.Pairs(pairs...))
	}
	for _, tt := range []struct {
		name string
		ctx  context.Context
		opts []client.CallOption
		want string
	}{
		{"in the background: the service", context.Background(), nil, "demo/echo-latest"},
		{"in a call: its caller", handling("authorization", "Bearer "+alice), nil, "demo/alice"},
		{"in an anonymous call: nobody", handling("x", "y"), nil, ""},
		{"in a call, if wanted: the service", handling("authorization", "Bearer "+alice), []client.CallOption{client.WithAuthToken()}, "demo/echo-latest"},
		{"as the program says", metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+alice), nil, "demo/alice"},
		{"a token that has expired: nobody", handling("authorization", "Bearer "+r.edge.token("alice", time.Now().Add(-time.Minute))), nil, ""},
		{"a token that is none: nobody", handling("authorization", "Bearer "+alice[:len(alice)-8]), nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rsp, err := echo.NewEchoService("echo", r.Client()).Say(tt.ctx, &echo.SayRequest{Text: "who"}, tt.opts...)
			if err != nil || rsp.Text != tt.want {
				t.Errorf("the callee saw %q, %v, want %q", rsp.GetText(), err, tt.want)
			}
		})
	}
}

// TestWhatGoesOn passes the trace on, and nothing that a caller made up.
func TestWhatGoesOn(t *testing.T) {
	t.Parallel()
	r := startEcho(t)
	ctx := metadata.NewIncomingContext(context.Background(), metadata.Pairs("x-made-up", "1", "micro-namespace", "other"))
	if _, err := echo.NewEchoService("echo", r.Client()).Say(ctx, &echo.SayRequest{}); err != nil {
		t.Fatal(err)
	}
	md := r.edge.lastSeen()
	if len(md.Get("x-made-up")) > 0 || md.Get("micro-namespace")[0] != "demo" {
		t.Errorf("passed on: %v", md)
	}
	if md.Get("content-type")[0] != "application/grpc+proto" || len(md.Get("timeout")) != 1 {
		t.Errorf("sent: %v", md)
	}
}

// TestTrace has the callee in the trace of the caller.
func TestTrace(t *testing.T) {
	t.Parallel()
	r := startEcho(t)
	id := trace.TraceID{1, 2, 3}
	ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: trace.SpanID{4}}))
	rsp, err := echo.NewEchoService("echo", r.Client()).Say(ctx, &echo.SayRequest{Text: "trace"})
	if err != nil || rsp.Text != id.String() {
		t.Errorf("the callee is in trace %q, %v, want %s", rsp.GetText(), err, id)
	}
}

func TestRegistration(t *testing.T) {
	t.Parallel()
	r := startEcho(t)
	entry := r.edge.waitFor(t, "echo", true)
	var names []string
	for _, e := range entry.GetEndpoints() {
		names = append(names, e.GetName())
	}
	if got, want := strings.Join(names, " "), "Echo.Chat Echo.Count Echo.Say Echo.Sum"; got != want {
		t.Errorf("endpoints %q, want %q", got, want)
	}
	node := entry.GetNodes()[0]
	if entry.GetVersion() != "latest" || entry.GetOptions().GetTtl() != 90 || entry.GetOptions().GetDomain() != "demo" ||
		!strings.HasPrefix(node.GetId(), "echo-") || node.GetMetadata()["protocol"] != "grpc" {
		t.Errorf("registered as %v", entry)
	}
	conn, err := net.Dial("tcp", node.GetAddress())
	if err != nil {
		t.Fatalf("the registered address: %v", err)
	}
	conn.Close()
}

// TestRegistersAgain goes on after a failure.
func TestRegistersAgain(t *testing.T) {
	t.Parallel()
	edge := newEdge(t)
	edge.refuse = errors.New(codes.Unavailable, "registry is busy, try again")
	r := start(t, edge, nil)
	edge.mu.Lock()
	edge.cond.Wait() // the first attempt
	edge.refuse = nil
	edge.mu.Unlock()
	r.edge.waitFor(t, "echo", true)
}

// TestStopLosesNoCall stops while a call is being handled: it leaves the routes
// first, and the call gets its answer.
func TestStopLosesNoCall(t *testing.T) {
	t.Parallel()
	r := startEcho(t)
	answered := make(chan error, 1)
	go func() {
		_, err := echo.NewEchoService("echo", r.Client()).Say(context.Background(), &echo.SayRequest{Text: "wait"})
		answered <- err
	}()
	<-r.handler.started
	r.stop()
	r.edge.waitFor(t, "echo", false)
	select {
	case err := <-r.done:
		t.Fatalf("stopped before the call was answered: %v", err)
	default:
	}
	close(r.handler.release)
	if err := <-answered; err != nil {
		t.Errorf("the call: %v", err)
	}
	if err := <-r.done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// TestRunFails says what is wrong with how the service was started.
func TestRunFails(t *testing.T) {
	t.Parallel()
	edge := newEdge(t)
	for _, tt := range []struct {
		name    string
		env     map[string]string
		service string
		handler any
		want    string
	}{
		{"no name", nil, "", &Echo{}, "the service has no name"},
		{"wrong secret", map[string]string{"MICRO_CLIENT_SECRET": "wrong"}, "echo", &Echo{}, "refused account echo-latest: Secret not correct"},
		{"half an account", map[string]string{"MICRO_CLIENT_SECRET": ""}, "echo", &Echo{}, "go together"},
		{"bad port", map[string]string{"MICRO_SERVICE_ADDRESS": "8080"}, "echo", &Echo{}, "write host:port or :port"},
		{"port taken", map[string]string{"MICRO_SERVICE_ADDRESS": edge.address}, "echo", &Echo{}, "address already in use"},
		{"no method", nil, "echo", &struct{ Echo int }{}, "the type of a handler is exported"},
		{"nil", nil, "echo", nil, "the handler is nil"},
		{"address that is none", map[string]string{"MICRO_SERVICE_NETWORK": "https://edge.example.com"}, "echo", &Echo{}, "without a scheme"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newService(edge.env(tt.env), Name(tt.service))
			s.Handle(tt.handler) //nolint:errcheck // Run answers it
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if err := s.run(ctx); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Run: %v, want %q", err, tt.want)
			}
		})
	}
}

// TestPort is where a service listens.
func TestPort(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		env  map[string]string
		want string
	}{
		{map[string]string{}, ":0"},
		{map[string]string{"PORT": "8080"}, ":8080"},
		{map[string]string{"PORT": "8080", "MICRO_SERVICE_ADDRESS": ":9000"}, ":9000"},
	} {
		s, err := readSettings(func(name string) string { return tt.env[name] }, options{name: "echo"})
		if err != nil || s.listen != tt.want {
			t.Errorf("%v: listens on %q, %v, want %q", tt.env, s.listen, err, tt.want)
		}
	}
}
