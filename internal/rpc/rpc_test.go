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
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, identity.Claims{
		RegisteredClaims: jwt.RegisteredClaims{Issuer: "demo", Subject: "alice", ExpiresAt: jwt.NewNumericDate(expires)},
		Type:             identity.User, Scopes: []string{"admin"},
	})
	token.Header["kid"] = "k"
	signed, err := token.SignedString(k.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return signed
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
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	k := keys{private}
	s := NewServer(slog.New(slog.DiscardHandler), identity.NewVerifier(k, time.Now), debug.New())
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
		{"expired", []string{"authorization", "Bearer " + k.token(t, time.Now().Add(-time.Second))}, "token expired", codes.Unauthenticated},
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
