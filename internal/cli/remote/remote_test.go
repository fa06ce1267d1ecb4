package remote

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/cli/config"
	"github.com/micro/platform/internal/identity"
	authpb "github.com/micro/platform/proto/auth"
)

// server is a small auth service, and a service that answers JSON as it came.
type server struct {
	authpb.UnimplementedAuthServer

	renewed atomic.Int32
	refuse  bool
}

func (s *server) Token(ctx context.Context, req *authpb.TokenRequest) (*authpb.TokenResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	if len(md.Get("authorization")) > 0 {
		return nil, errors.New(codes.InvalidArgument, "a refresh bears no token")
	}
	if s.refuse || req.GetRefreshToken() != "refresh" {
		return nil, errors.New(codes.InvalidArgument, "invalid token provided")
	}
	s.renewed.Add(1)
	return &authpb.TokenResponse{Token: &authpb.Token{AccessToken: "new", RefreshToken: "refresh", Expiry: time.Now().Add(time.Hour).Unix()}}, nil
}

// jsonOrProto reads messages of auth as protobuf, anything else as it is.
type jsonOrProto struct{ rawJSON }

func (jsonOrProto) Marshal(v any) ([]byte, error) {
	if m, ok := v.(proto.Message); ok {
		return proto.Marshal(m)
	}
	return rawJSON{}.Marshal(v)
}

func (jsonOrProto) Unmarshal(b []byte, v any) error {
	if m, ok := v.(proto.Message); ok {
		return proto.Unmarshal(b, m)
	}
	return rawJSON{}.Unmarshal(b, v)
}

// echo answers the token and the message of a call of any other service.
func echo(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	var body []byte
	if err := stream.RecvMsg(&body); err != nil {
		return err
	}
	if method == "/shop.Shop/Fail" {
		return errors.New(codes.NotFound, "no such thing").From("shop.Shop.Fail")
	}
	md, _ := metadata.FromIncomingContext(stream.Context())
	if method == "/shop.Shop/Changed" && md.Get("authorization")[0] != "Bearer new" {
		stream.SetTrailer(metadata.Pairs("micro-reason", identity.TokenRevoked))
		return errors.New(codes.Unauthenticated, "the token was revoked")
	}
	rsp := fmt.Appendf(nil, `{"token":%q,"namespace":%q,"body":%s}`, md.Get("authorization"), md.Get("micro-namespace"), body)
	if method == "/shop.Shop/Twice" {
		if err := stream.SendMsg(&rsp); err != nil {
			return err
		}
	}
	return stream.SendMsg(&rsp)
}

// start starts a server and answers a login with a token that ends at expiry.
func start(t *testing.T, s *server, expiry time.Time) (config.Login, *config.Tokens) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	auth := grpc.NewServer(grpc.UnknownServiceHandler(echo), grpc.ForceServerCodec(jsonOrProto{}))
	authpb.RegisterAuthServer(auth, s)
	go auth.Serve(l) //nolint:errcheck // it ends with the test
	t.Cleanup(auth.Stop)
	login := config.Login{Address: l.Addr().String(), Namespace: "acme", Account: "jane"}
	tokens := config.OpenTokens(filepath.Join(t.TempDir(), "tokens"))
	if err := tokens.Put(login, config.Token{AccessToken: "old", RefreshToken: "refresh", Expiry: expiry.Unix()}); err != nil {
		t.Fatal(err)
	}
	return login, tokens
}

func open(t *testing.T, login config.Login, tokens *config.Tokens, given string) *Session {
	t.Helper()
	s, err := Open(login, tokens, given)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestToken(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		expiry  time.Duration
		refuse  bool
		given   string
		want    string
		expired bool
	}{
		{"fresh", time.Hour, false, "", "old", false},
		{"about to end", renewBefore / 2, false, "", "new", false},
		{"ended", -time.Hour, false, "", "new", false},
		{"refused", -time.Hour, true, "", "", true},
		{"given", -time.Hour, false, "mine", "mine", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			login, tokens := start(t, &server{refuse: tt.refuse}, time.Now().Add(tt.expiry))
			s := open(t, login, tokens, tt.given)
			if got, err := s.Token(t.Context()); err != nil || got != tt.want || s.Expired() != tt.expired {
				t.Errorf("Token = %q, %v, expired %v", got, err, s.Expired())
			}
		})
	}
}

// TestTokenOfManyProcesses opens as many sessions as there may be processes:
// the server is asked once, and everybody has the new token.
func TestTokenOfManyProcesses(t *testing.T) {
	t.Parallel()
	srv := &server{}
	login, tokens := start(t, srv, time.Now())
	var wg sync.WaitGroup
	for range 5 {
		s := open(t, login, tokens, "")
		wg.Go(func() {
			if got, err := s.Token(t.Context()); err != nil || got != "new" {
				t.Errorf("Token = %q, %v", got, err)
			}
		})
	}
	wg.Wait()
	if n := srv.renewed.Load(); n != 1 {
		t.Errorf("the server was asked %d times", n)
	}
}

func TestCall(t *testing.T) {
	t.Parallel()
	login, tokens := start(t, &server{}, time.Now().Add(time.Hour))
	s := open(t, login, tokens, "")
	call := Call{Service: "shop", Endpoint: "Shop.Buy", Namespace: "acme", Body: []byte(`{"n":9007199254740993}`)}
	want := `{"token":["Bearer old"],"namespace":["acme"],"body":{"n":9007199254740993}}`
	if got, err := call.Unary(t.Context(), s.Conn); err != nil || string(got) != want {
		t.Errorf("Unary = %s, %v, want %s", got, err, want)
	}
	call.Endpoint = "Shop.Twice"
	n := 0
	err := call.Stream(t.Context(), s.Conn, func(got []byte) error {
		n++
		if string(got) != want {
			t.Errorf("Stream handed over %s, want %s", got, want)
		}
		return nil
	})
	if err != nil || n != 2 {
		t.Errorf("Stream handed over %d messages, %v", n, err)
	}
	call.Endpoint = "Shop.Changed" // what its owner may do
	if got, err := call.Unary(t.Context(), s.Conn); err != nil || !strings.Contains(string(got), "Bearer new") {
		t.Errorf("with a token that was called back: %s, %v", got, err)
	}
	call.Endpoint = "Shop.Fail"
	_, err = call.Unary(t.Context(), s.Conn)
	if text, code := s.Explain(err); text != "no such thing" || code != ExitError {
		t.Errorf("Explain = %q, %d", text, code)
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	micro := func(c codes.Code, text string) error { return errors.New(c, "%s", text).From("x").GRPCStatus().Err() }
	s := open(t, config.Login{Address: "127.0.0.1:1"}, nil, "")
	for _, tt := range []struct {
		err  error
		text string
		code int
	}{
		{status.Error(codes.Unimplemented, `malformed method name: "Call"`), `Method name "Call" invalid format`, ExitBadMethod},
		{micro(codes.Internal, "service shop: route not found"), `Service "shop" not found`, ExitUnreachable},
		{micro(codes.Internal, "service my-svc: route not found"), `Service "my-svc" not found`, ExitUnreachable},
		{status.Error(codes.Unimplemented, "unknown service Shop.Buy"), `Service method "Shop.Buy" not found`, ExitNoMethod},
		{status.Error(codes.Unimplemented, "unknown service shop"), `Service "shop" not found`, ExitNoMethod},
		{micro(codes.DeadlineExceeded, "context deadline exceeded"), "Request timed out", ExitTimeout},
		{context.DeadlineExceeded, "Request timed out", ExitTimeout},
		{micro(codes.Unauthenticated, "no"), `run "micro login"`, ExitUnauthorized},
		{micro(codes.PermissionDenied, "Forbidden call"), "Forbidden call", ExitError},
		{micro(codes.Unavailable, "registry is busy"), "registry is busy", ExitError},
		{status.Error(codes.Unknown, "boom"), "boom", ExitOther},
		{status.Error(codes.Unavailable, `connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:1: connect: connection refused"`),
			"cannot reach 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused", ExitUnreachable},
	} {
		if text, code := s.Explain(tt.err); !strings.Contains(text, tt.text) || code != tt.code {
			t.Errorf("Explain(%v) = %q, %d, want %q, %d", tt.err, text, code, tt.text, tt.code)
		}
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	s := open(t, config.Login{Address: "127.0.0.1:1"}, nil, "")
	_, err := Call{Service: "shop", Endpoint: "Shop.Buy", Body: []byte("{}")}.Unary(t.Context(), s.Conn)
	if text, code := s.Explain(err); !strings.Contains(text, "cannot reach 127.0.0.1:1: dial tcp") || !strings.Contains(text, "micro server") || code != ExitUnreachable {
		t.Errorf("Explain = %q, %d", text, code)
	}
}
