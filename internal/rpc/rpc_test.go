package rpc

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/micro/platform/framework/debug"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/certs"
	"github.com/micro/platform/internal/identity"
	registrypb "github.com/micro/platform/proto/registry"
)

// keys is one RSA key for all tests, under the id "k".
type keys struct{ *rsa.PrivateKey }

func (k keys) Key(_ context.Context, id string) (*rsa.PublicKey, error) {
	if id != "k" {
		return nil, identity.ErrInvalid
	}
	return &k.PublicKey, nil
}

func (k keys) token(t *testing.T, expires time.Time) string {
	t.Helper()
	return k.sign(t, identity.Claims{
		RegisteredClaims: jwt.RegisteredClaims{Issuer: "demo", Subject: "alice", ExpiresAt: jwt.NewNumericDate(expires)},
		Type:             identity.User, Scopes: []string{"admin"},
	})
}

func (k keys) sign(t *testing.T, c identity.Claims) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, c)
	token.Header["kid"] = "k"
	signed, err := token.SignedString(k.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func newKeys(t *testing.T) keys {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return keys{private}
}

// errShared is an error that a service answers again and again.
var errShared = errors.New(codes.NotFound, "no service")

// registry answers by what it is asked for.
type registry struct {
	registrypb.UnimplementedRegistryServer
}

func (registry) GetService(ctx context.Context, req *registrypb.GetRequest) (*registrypb.GetResponse, error) {
	switch req.GetService() {
	case "panic":
		panic("boom")
	case "private":
		return nil, fmt.Errorf("password is hunter2")
	case "decided":
		return nil, errors.New(codes.NotFound, "no service").Because(fmt.Errorf("hunter2"))
	case "shared":
		return nil, errShared
	case "foreign":
		return nil, status.Error(codes.NotFound, "what another component said")
	}
	caller, ok := identity.From(ctx)
	_, bounded := ctx.Deadline()
	return &registrypb.GetResponse{Services: []*registrypb.Service{{Name: fmt.Sprintf("%s/%s %v %v", caller.Namespace, caller.ID, ok, bounded)}}}, nil
}

func setup(t *testing.T, own TokenSource) (registrypb.RegistryClient, keys) {
	t.Helper()
	_, client, k := serve(t, own)
	return client, k
}

func serve(t *testing.T, own TokenSource) (*Server, registrypb.RegistryClient, keys) {
	t.Helper()
	k := newKeys(t)
	s := NewServer(slog.New(slog.DiscardHandler), identity.NewVerifier(k, time.Now), nil, debug.New())
	registrypb.RegisterRegistryServer(s, registry{})
	pipe := bufconn.Listen(1 << 20)
	go s.Serve(pipe) //nolint:errcheck // ends by Stop
	t.Cleanup(s.Stop)
	conn, err := NewClient("passthrough:///memory", own, grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return s, registrypb.NewRegistryClient(conn), k
}

func noToken(context.Context) (string, error) { return "", nil }

func TestErrorsThatLeave(t *testing.T) {
	t.Parallel()
	client, _ := setup(t, noToken)
	for _, tt := range []struct {
		service, want string
		code          codes.Code
	}{
		{"panic", `{"id":"registry.Registry.GetService","code":500,"detail":"internal error","status":"Internal Server Error"}`, codes.Internal},
		{"private", `{"id":"registry.Registry.GetService","code":500,"detail":"internal error","status":"Internal Server Error"}`, codes.Internal},
		{"foreign", `{"id":"registry.Registry.GetService","code":500,"detail":"internal error","status":"Internal Server Error"}`, codes.Internal},
		{"shared", `{"id":"registry.Registry.GetService","code":404,"detail":"no service","status":"Not Found"}`, codes.NotFound},
		{"decided", `{"id":"registry.Registry.GetService","code":404,"detail":"no service","status":"Not Found"}`, codes.NotFound},
	} {
		t.Run(tt.service, func(t *testing.T) {
			t.Parallel()
			_, err := client.GetService(t.Context(), &registrypb.GetRequest{Service: tt.service})
			s := status.Convert(err)
			if s.Code() != tt.code || s.Message() != tt.want || len(s.Details()) > 0 {
				t.Errorf("status = %v %s %v, want %v %s without details", s.Code(), s.Message(), s.Details(), tt.code, tt.want)
			}
		})
	}
}

// TestSharedErrors stay as they are: the method that answers one first does not
// sign it for the others.
func TestSharedErrors(t *testing.T) {
	t.Parallel()
	client, _ := setup(t, noToken)
	for range 2 {
		if _, err := client.GetService(t.Context(), &registrypb.GetRequest{Service: "shared"}); status.Code(err) != codes.NotFound {
			t.Fatal(err)
		}
	}
	if errShared.ID != "" {
		t.Errorf("the variable is signed %q", errShared.ID)
	}
}

func TestCaller(t *testing.T) {
	t.Parallel()
	client, k := setup(t, noToken)
	good := k.token(t, time.Now().Add(time.Hour))
	for _, tt := range []struct {
		name   string
		header []string
		want   string // who the handler saw, or what the error says
		code   codes.Code
	}{
		{"anonymous", nil, "/ false true", codes.OK},
		{"good token", []string{"authorization", "Bearer " + good}, "demo/alice true true", codes.OK},
		{"a header is not believed", []string{"micro-namespace", "other", "authorization", "Bearer " + good}, "demo/alice true true", codes.OK},
		{"expired", []string{"authorization", "Bearer " + k.token(t, time.Now().Add(-identity.Leeway))}, "token expired", codes.Unauthenticated},
		{"garbage", []string{"authorization", "Bearer a.b.c"}, "token invalid", codes.Unauthenticated},
		{"basic", []string{"authorization", "Basic YTpi"}, "Bearer", codes.Unauthenticated},
		{"two of them", []string{"authorization", "Bearer " + good, "authorization", "Bearer " + good}, "one Bearer", codes.InvalidArgument},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rsp, err := client.GetService(metadata.AppendToOutgoingContext(t.Context(), tt.header...), &registrypb.GetRequest{})
			got := status.Convert(err).Message()
			if err == nil {
				got = rsp.GetServices()[0].GetName()
			}
			if status.Code(err) != tt.code || !strings.Contains(got, tt.want) {
				t.Errorf("GetService = %v %q, want %v with %q", status.Code(err), got, tt.code, tt.want)
			}
		})
	}
}

// TestWhoseToken shows that a component passes its caller on, and uses its own
// name only where it says so.
func TestWhoseToken(t *testing.T) {
	t.Parallel()
	var own string
	client, k := setup(t, func(context.Context) (string, error) { return own, nil })
	own = k.token(t, time.Now().Add(time.Hour))
	caller := identity.With(t.Context(), identity.Caller{ID: "alice", Token: k.token(t, time.Now().Add(2*time.Hour))})
	for _, tt := range []struct {
		name string
		ctx  context.Context
		want string
	}{
		{"nobody's", t.Context(), "/ false true"},
		{"the caller's", caller, "demo/alice true true"},
		{"the component's own", identity.AsComponent(t.Context()), "demo/alice true true"},
	} {
		rsp, err := client.GetService(tt.ctx, &registrypb.GetRequest{})
		if err != nil || rsp.GetServices()[0].GetName() != tt.want {
			t.Errorf("%s: GetService = %v, %v, want %q", tt.name, rsp, err, tt.want)
		}
	}
}

// TestJSON shows the content type that dynamic commands and the HTTP API use.
func TestJSON(t *testing.T) {
	t.Parallel()
	client, _ := setup(t, noToken)
	rsp, err := client.GetService(t.Context(), &registrypb.GetRequest{Service: "x"}, grpc.CallContentSubtype("json"))
	if err != nil || len(rsp.GetServices()) != 1 {
		t.Errorf("GetService = %v, %v", rsp, err)
	}
	var in registrypb.GetRequest
	if err := (jsonCodec{}).Unmarshal([]byte(`{"service":"x","nothing":1}`), &in); err != nil || in.GetService() != "x" {
		t.Errorf("an unknown field is refused: %v", err)
	}
	out, err := (jsonCodec{}).Marshal(&registrypb.Options{})
	if err != nil || strings.ReplaceAll(string(out), " ", "") != `{"ttl":"0","domain":""}` {
		t.Errorf("Marshal = %s, %v, want every field, in the names of the proto", out, err)
	}
}

// TestComponentWithAnothersCertificate shows that the token of a component is
// worth nothing with the certificate of another.
func TestComponentWithAnothersCertificate(t *testing.T) {
	t.Parallel()
	a := certs.Open(t.TempDir())
	if err := a.Init(); err != nil {
		t.Fatal(err)
	}
	keeper := func(component string) *certs.Keeper {
		t.Helper()
		if _, err := a.Issue(component, nil, time.Hour); err != nil {
			t.Fatal(err)
		}
		k, err := certs.NewKeeper(component, certs.In(a.Dir(), component), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	k := newKeys(t)
	s := NewServer(slog.New(slog.DiscardHandler), identity.NewVerifier(k, time.Now), keeper("registry").Server())
	registrypb.RegisterRegistryServer(s, registry{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l) //nolint:errcheck // ends by Stop
	t.Cleanup(s.Stop)
	token := k.sign(t, identity.Claims{
		RegisteredClaims: jwt.RegisteredClaims{Issuer: identity.Platform, Subject: "network", ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour))},
		Type:             identity.Component,
	})
	for component, want := range map[string]codes.Code{"network": codes.OK, "console": codes.Unauthenticated} {
		conn, err := NewClient("passthrough:///"+l.Addr().String(), func(context.Context) (string, error) { return token, nil },
			grpc.WithTransportCredentials(keeper(component).Client("registry")))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_, err = registrypb.NewRegistryClient(conn).GetService(identity.AsComponent(t.Context()), &registrypb.GetRequest{})
		if errors.Code(err) != want {
			t.Errorf("the token of network with the certificate of %s: %v, want %v", component, err, want)
		}
	}
}

// TestComponentsTokenStays shows that a component which is called by another
// calls the next in its own name.
func TestComponentsTokenStays(t *testing.T) {
	t.Parallel()
	c := &caller{own: func(context.Context) (string, error) { return "own", nil }}
	for _, tt := range []struct {
		caller identity.Caller
		want   string
	}{
		{identity.Caller{Namespace: identity.Platform, Type: identity.Component, Token: "theirs"}, "Bearer own"},
		{identity.Caller{Namespace: "demo", Type: identity.User, Token: "theirs"}, "Bearer theirs"},
	} {
		ctx, err := c.sign(identity.With(t.Context(), tt.caller))
		if err != nil {
			t.Fatal(err)
		}
		md, _ := metadata.FromOutgoingContext(ctx)
		if got := md.Get("authorization"); len(got) != 1 || got[0] != tt.want {
			t.Errorf("a call of %s goes on with %q, want %q", tt.caller.Type, got, tt.want)
		}
	}
}
