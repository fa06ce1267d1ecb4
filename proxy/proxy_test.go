package proxy_test

import (
	"context"
	"encoding/json"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/identity"
	authpb "github.com/micro/platform/proto/auth"
	registrypb "github.com/micro/platform/proto/registry"
	"github.com/micro/platform/proxy"
	"github.com/micro/platform/proxy/edge/edgetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// settle bounds how long a push may take in tests.
const settle = 10 * time.Second

// edge is a proxy under test.
type edge struct {
	*edgetest.Platform
	t    testing.TB
	conn *grpc.ClientConn
}

// start runs a proxy.
func start(t testing.TB) *edge { return startOn(t, edgetest.New(t)) }

// startOn runs a proxy beside other components.
func startOn(t testing.TB, p *edgetest.Platform, others ...app.Component) *edge {
	t.Helper()
	return startWith(t, p, nil, others...)
}

// startWith is startOn with settings of the proxy's.
func startWith(t testing.TB, p *edgetest.Platform, settings map[string]string, others ...app.Component) *edge {
	t.Helper()
	address := freeAddress(t)
	env := map[string]string{"MICRO_PROXY_ADDRESS": address, "MICRO_PROXY_CONTAINER_ADDRESS": "none"}
	maps.Copy(env, settings)
	p.Run(t, env, append(others, proxy.Component)...)
	return &edge{p, t, dial(t, address)}
}

func dial(t testing.TB, address string) *grpc.ClientConn {
	t.Helper()
	return dialWith(t, address, func(ctx context.Context, address string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	})
}

func dialWith(t testing.TB, address string, connect func(context.Context, string) (net.Conn, error)) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(connect))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// answer is what edgetest.Service answers.
type answer struct {
	Service  string            `json:"service"`
	Sent     json.RawMessage   `json:"sent"`
	Metadata map[string]string `json:"metadata"`
}

// call makes a JSON call with metadata in pairs.
func (e *edge) call(method, body string, pairs ...string) (answer, error) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), settle)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, pairs...)
	var out []byte
	in := []byte(body)
	if err := e.conn.Invoke(ctx, method, &in, &out, edgetest.Codec()); err != nil {
		return answer{}, err
	}
	var a answer
	if err := json.Unmarshal(out, &a); err != nil {
		e.t.Fatalf("%s: %v", out, err)
	}
	return a, nil
}

// until repeats a call until it ends with a code: pushes take a moment.
func (e *edge) until(want codes.Code, method string, pairs ...string) answer {
	e.t.Helper()
	for end := time.Now().Add(settle); ; {
		a, err := e.call(method, "{}", pairs...)
		if errors.Code(err) == want {
			return a
		}
		if time.Now().After(end) {
			e.t.Fatalf("%s = %v, want %s within %s", method, err, want, settle)
		}
	}
}

func bearer(token string) []string { return []string{"authorization", "Bearer " + token} }

// TestCall shows that a call reaches the service of the caller's namespace, as
// it is, with the metadata that the edge decides on.
func TestCall(t *testing.T) {
	t.Parallel()
	e := start(t)
	mine, theirs := edgetest.NewService(t, "echo"), edgetest.NewService(t, "echo")
	e.Register("acme", mine.Entry())
	e.Register("other", theirs.Entry())
	token := e.User(t, "acme")
	a, err := e.call("/echo.Echo/Call", `{"b":1,"a":9007199254740993}`, append(bearer(token), "micro-namespace", "micro", "x-mine", "1",
		"micro-client-address", "1.2.3.4", "micro-listener", "nowhere", "micro-account", "root", "x-forwarded-for", "1.2.3.4",
		"micro-trace-id", "abc", "micro-request-id", "my-request")...)
	if err != nil {
		t.Fatal(err)
	}
	if string(a.Sent) != `{"b":1,"a":9007199254740993}` || mine.Calls.Load() != 1 || theirs.Calls.Load() != 0 {
		t.Errorf("sent %s, calls %d and %d; want the bytes unchanged, at the caller's own service", a.Sent, mine.Calls.Load(), theirs.Calls.Load())
	}
	for key, want := range map[string]string{
		"micro-namespace": "acme", "authorization": "Bearer " + token, "x-mine": "1", "micro-trace-id": "abc", "micro-request-id": "my-request",
		"micro-client-address": "", "micro-listener": "", "micro-account": "", "x-forwarded-for": "", "content-type": "application/grpc+json",
	} {
		if got := a.Metadata[key]; got != want {
			t.Errorf("the service saw %s = %q, want %q", key, got, want)
		}
	}
}

// TestRefusals shows which calls are refused, and with which words.
func TestRefusals(t *testing.T) {
	t.Parallel()
	e := start(t)
	echo := edgetest.NewService(t, "echo")
	e.Register("acme", echo.Entry())
	dead := edgetest.NewService(t, "dead")
	dead.Stop()
	e.Register("acme", dead.Entry())
	user := e.User(t, "acme")
	old := e.Token(t, identity.Caller{ID: "jane", Namespace: "acme", Type: identity.User, Expires: time.Now().Add(-time.Minute)})
	component := e.Token(t, identity.Caller{ID: "runtime", Namespace: "micro", Type: identity.Component})
	e.until(codes.OK, "/echo.Echo/Call", bearer(user)...)
	for _, tt := range []struct {
		name, method string
		metadata     []string
		code         codes.Code
		status       int32
		detail       string
	}{
		{"no account", "/echo.Echo/Call", []string{"micro-namespace", "acme"}, codes.Unauthenticated, 401, "Unauthorized call made to echo:Echo.Call: token missing"},
		{"no account, no such namespace", "/echo.Echo/Call", []string{"micro-namespace", "nowhere"}, codes.Unauthenticated, 401, "Unauthorized call made to echo:Echo.Call: token missing"},
		{"expired", "/echo.Echo/Call", append(bearer(old), "micro-namespace", "acme"), codes.Unauthenticated, 401, "token expired"},
		{"garbage", "/echo.Echo/Call", bearer("a.b.c"), codes.Unauthenticated, 401, "token invalid"},
		{"a component's token", "/echo.Echo/Call", bearer(component), codes.Unauthenticated, 401, "token invalid"},
		{"basic", "/echo.Echo/Call", []string{"authorization", "Basic abc"}, codes.Unauthenticated, 401, "invalid authorization header. expected Bearer schema"},
		{"two tokens", "/echo.Echo/Call", append(bearer(user), bearer(user)...), codes.InvalidArgument, 400, "one Bearer Authorization header expected"},
		{"another's namespace", "/echo.Echo/Call", append(bearer(user), "micro-namespace", "other"), codes.PermissionDenied, 403, `no access to namespace "other"`},
		{"two namespaces", "/echo.Echo/Call", append(bearer(user), "micro-namespace", "acme", "micro-namespace", "micro"), codes.InvalidArgument, 400, "one micro-namespace header"},
		{"no service", "/Call/Call", bearer(user), codes.InvalidArgument, 400, "service name is blank"},
		{"unknown service", "/nothere.Nothere/Call", bearer(user), codes.NotFound, 404, "service nothere: route not found"},
		{"dead service", "/dead.Echo/Call", bearer(user), codes.Unavailable, 503, "service dead: no instance is reachable"},
		{"what components call", "/auth.Components/Token", bearer(user), codes.Unimplemented, 501, "unknown service auth.Components"},
		{"the builder", "/builder.Builder/Build", bearer(user), codes.Unimplemented, 501, "unknown service builder.Builder"},
		{"core, no account", "/auth.Auth/Inspect", nil, codes.Unauthenticated, 401, "an account is required"},
		{"core, expired", "/auth.Auth/Inspect", bearer(old), codes.Unauthenticated, 401, "an account is required: token expired at "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := e.call(tt.method, "{}", tt.metadata...)
			got := errors.FromError(err)
			if errors.Code(err) != tt.code || got == nil || got.HTTP != tt.status || !strings.Contains(got.Detail, tt.detail) {
				t.Errorf("%s = %v, want %s, %d and %q", tt.method, err, tt.code, tt.status, tt.detail)
			}
		})
	}
	if n := echo.Calls.Load(); n != 1 {
		t.Errorf("%d calls reached the service", n)
	}
}

// TestErrorsPass shows that a service's own error comes back as it is, and that
// it carries no details.
func TestErrorsPass(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.Register("acme", edgetest.NewService(t, "echo").Entry())
	_, err := e.call("/echo.Echo/Fail", `{"id":"echo","code":418,"detail":"I am a teapot"}`, bearer(e.User(t, "acme"))...)
	got := errors.FromError(err)
	if got == nil || got.HTTP != 418 || got.Detail != "I am a teapot" || got.ID != "echo" {
		t.Errorf("Fail = %v", err)
	}
}

// TestOperator shows that operators reach other namespaces by naming them, and
// that their token stays out of there.
func TestOperator(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.Register("acme", edgetest.NewService(t, "echo").Entry())
	operator := e.User(t, "micro", "admin")
	a := e.until(codes.OK, "/echo.Echo/Call", append(bearer(operator), "micro-namespace", "acme")...)
	if a.Metadata["authorization"] != "" || a.Metadata["micro-namespace"] != "acme" {
		t.Errorf("the service saw %v", a.Metadata)
	}
}

// TestPush shows that rules, revocations, registrations and restarts of those
// who push are noticed.
func TestPush(t *testing.T) {
	t.Parallel()
	e := start(t)
	user := bearer(e.User(t, "acme"))
	anonymous := []string{"micro-namespace", "acme"}
	e.until(codes.NotFound, "/echo.Echo/Call", user...)
	entry := edgetest.NewService(t, "echo").Entry()
	e.Register("acme", entry)
	e.until(codes.OK, "/echo.Echo/Call", user...)
	e.until(codes.Unauthenticated, "/echo.Echo/Call", anonymous...)
	e.Public("acme")
	e.until(codes.OK, "/echo.Echo/Call", anonymous...)
	e.Change(&authpb.Change{Revocation: &authpb.Revocation{Namespace: "acme", Account: "jane@acme", Epoch: 7, Expires: time.Now().Add(time.Hour).Unix()}})
	e.Change(&authpb.Change{Rules: &authpb.RuleSet{Namespace: "acme"}})
	e.until(codes.Unauthenticated, "/echo.Echo/Call", user...)
	later := bearer(e.Token(t, identity.Caller{ID: "jane@acme", Namespace: "acme", Type: identity.User, Epoch: 7}))
	e.until(codes.OK, "/echo.Echo/Call", later...)
	e.Drop()
	if _, err := e.call("/echo.Echo/Call", "{}", user...); errors.Code(err) != codes.Unauthenticated {
		t.Errorf("a revoked token after the streams broke: %v", err)
	}
	if _, err := e.call("/echo.Echo/Call", "{}", later...); err != nil {
		t.Errorf("a good one: %v", err)
	}
	entry.Nodes = nil
	e.Register("acme", entry)
	e.until(codes.NotFound, "/echo.Echo/Call", later...)
}

// TestJustRegistered shows that the registry is asked about what was not pushed
// yet, and not again and again about what is not there.
func TestJustRegistered(t *testing.T) {
	t.Parallel()
	e := start(t)
	user := bearer(e.User(t, "acme"))
	e.RegisterQuietly("acme", edgetest.NewService(t, "echo").Entry())
	if _, err := e.call("/echo.Echo/Call", "{}", user...); err != nil {
		t.Error(err)
	}
	before := e.Asked()
	for range 20 {
		if _, err := e.call("/nothere.Echo/Call", "{}", user...); errors.Code(err) != codes.NotFound {
			t.Error(err)
		}
	}
	if n := e.Asked() - before; n > 3 {
		t.Errorf("the registry was asked %d times", n)
	}
}

// TestDeadNode shows that calls go to another instance when one is gone. The
// call that was on its way to it as it went may fail, without telling where.
func TestDeadNode(t *testing.T) {
	t.Parallel()
	e := start(t)
	alive, dead := edgetest.NewService(t, "echo"), edgetest.NewService(t, "echo")
	entry := alive.Entry()
	entry.Nodes = append(entry.Nodes, dead.Entry().GetNodes()...)
	e.Register("acme", entry)
	user := bearer(e.User(t, "acme"))
	e.until(codes.OK, "/echo.Echo/Call", user...)
	dead.Stop()
	failed := 0
	for range 50 {
		_, err := e.call("/echo.Echo/Call", "{}", user...)
		if err == nil {
			continue
		}
		if failed++; failed > 1 || errors.FromError(err).Detail != "service echo: its instance ended during the call" {
			t.Fatal(err)
		}
	}
}

// TestStreams shows streams of a service in both directions, and that the
// platform's answer clients that never say that their request is over.
func TestStreams(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.Register("acme", edgetest.NewService(t, "echo").Entry())
	user := bearer(e.User(t, "acme"))
	e.until(codes.OK, "/echo.Echo/Call", user...)
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), user...), settle)
	defer cancel()
	both := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	s, err := e.conn.NewStream(ctx, both, "/echo.Echo/Chat", edgetest.Codec())
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"one", "two", ""} {
		var got []byte
		if err := s.SendMsg([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := s.RecvMsg(&got); err != nil || string(got) != text {
			t.Fatalf("%q, %v, want %q", got, err, text)
		}
	}
	w, err := e.conn.NewStream(ctx, both, registrypb.Registry_Watch_FullMethodName)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.SendMsg(&registrypb.WatchRequest{Service: "echo"}); err != nil { // and nothing more
		t.Fatal(err)
	}
	var r registrypb.Result
	if err := w.RecvMsg(&r); err != nil || r.GetService().GetName() != "echo" {
		t.Errorf("Watch = %v, %v", &r, err)
	}
}

// TestRefusedSubscriptionsWait shows that a client which subscribes again at
// once when it is refused, as old ones do, is held back.
func TestRefusedSubscriptionsWait(t *testing.T) {
	t.Parallel()
	e := start(t)
	began := time.Now()
	if _, err := e.call("/broker.Broker/Subscribe", "{}", bearer("damaged")...); err == nil {
		t.Fatal("a damaged token subscribes")
	}
	if took := time.Since(began); took < time.Second {
		t.Errorf("refused after %v, want a second at least", took)
	}
}
