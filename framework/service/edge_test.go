package service

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"crypto"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/framework/errors"
	authpb "github.com/micro/platform/proto/auth"
	registrypb "github.com/micro/platform/proto/registry"
)

// fakeEdge is the platform in small: it issues tokens, takes registrations, and
// passes the bytes of any other call on to the service that is named in its path.
type fakeEdge struct {
	authpb.UnimplementedAuthServer
	authpb.UnimplementedKeysServer
	registrypb.UnimplementedRegistryServer

	address string
	key     *rsa.PrivateKey
	secret  string        // what accounts log in with
	expiry  time.Duration // of tokens

	mu         sync.Mutex
	cond       *sync.Cond
	nodes      map[string]*registrypb.Service
	registered int
	logins     int
	refuse     error         // answers to Register, while it is set
	seen       []metadata.MD // of calls that were passed on
}

// signingKey is shared: making one takes a while.
var signingKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func newEdge(t *testing.T) *fakeEdge {
	t.Helper()
	e := &fakeEdge{key: signingKey(), secret: "secret", expiry: time.Hour, nodes: map[string]*registrypb.Service{}}
	e.cond = sync.NewCond(&e.mu)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.address = l.Addr().String()
	s := grpc.NewServer(grpc.UnknownServiceHandler(e.forward), grpc.ForceServerCodecV2(bytesCodec{}))
	core := grpc.NewServer()
	authpb.RegisterAuthServer(core, e)
	authpb.RegisterKeysServer(core, e)
	registrypb.RegisterRegistryServer(core, e)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"auth", "registry"} {
		e.nodes[name] = &registrypb.Service{Nodes: []*registrypb.Node{{Address: inner.Addr().String()}}}
	}
	go core.Serve(inner) //nolint:errcheck // ends with Stop
	go s.Serve(l)        //nolint:errcheck // ends with Stop
	t.Cleanup(core.Stop)
	t.Cleanup(s.Stop)
	return e
}

// env is what the platform gives to a service.
func (e *fakeEdge) env(more map[string]string) func(string) string {
	env := map[string]string{
		"MICRO_SERVICE_NETWORK": e.address, "MICRO_NAMESPACE": "demo",
		"MICRO_CLIENT_ID": "echo-latest", "MICRO_CLIENT_SECRET": e.secret, "MICRO_SERVICE_ADDRESS": "127.0.0.1:0",
	}
	maps.Copy(env, more)
	return func(name string) string { return env[name] }
}

// token signs the claims of an account.
func (e *fakeEdge) token(id string, expires time.Time) string {
	part := func(v any) string {
		b, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(b)
	}
	signed := part(map[string]string{"alg": "RS256", "kid": "k1"}) + "." + part(map[string]any{
		"sub": id, "iss": "demo", "exp": expires.Unix(), "type": "service", "scopes": []string{"service"},
	})
	digest := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(nil, e.key, crypto.SHA256, digest[:])
	if err != nil {
		panic(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func (e *fakeEdge) Token(_ context.Context, req *authpb.TokenRequest) (*authpb.TokenResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.logins++
	if req.GetSecret() != e.secret {
		return nil, errors.New(codes.InvalidArgument, "Secret not correct")
	}
	expires := time.Now().Add(e.expiry)
	return &authpb.TokenResponse{Token: &authpb.Token{AccessToken: e.token(req.GetId(), expires), RefreshToken: "r", Expiry: expires.Unix()}}, nil
}

// List answers the keys. The methods of the registry have other names.
func (e *fakeEdge) List(context.Context, *authpb.ListKeysRequest) (*authpb.ListKeysResponse, error) {
	der, err := x509.MarshalPKIXPublicKey(&e.key.PublicKey)
	return &authpb.ListKeysResponse{Keys: []*authpb.Key{{Id: "k1", Der: der}}}, err
}

func (e *fakeEdge) Register(ctx context.Context, s *registrypb.Service) (*registrypb.EmptyResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	defer e.cond.Broadcast()
	if len(metadata.ValueFromIncomingContext(ctx, "authorization")) == 0 {
		return nil, errors.New(codes.Unauthenticated, "an account is required")
	}
	if e.refuse != nil {
		return nil, e.refuse
	}
	e.registered++
	e.nodes[s.GetName()] = s
	return &registrypb.EmptyResponse{}, nil
}

func (e *fakeEdge) Deregister(_ context.Context, s *registrypb.Service) (*registrypb.EmptyResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	defer e.cond.Broadcast()
	delete(e.nodes, s.GetName())
	return &registrypb.EmptyResponse{}, nil
}

// waitFor answers a service once it is registered, or nil once it is not.
func (e *fakeEdge) waitFor(t *testing.T, name string, registered bool) *registrypb.Service {
	t.Helper()
	late := time.AfterFunc(10*time.Second, e.cond.Broadcast)
	defer late.Stop()
	deadline := time.Now().Add(10 * time.Second)
	e.mu.Lock()
	defer e.mu.Unlock()
	for (e.nodes[name] != nil) != registered {
		if !time.Now().Before(deadline) {
			t.Fatalf("%s registered: %v, want %v", name, !registered, registered)
		}
		e.cond.Wait()
	}
	return e.nodes[name]
}

// forward passes a call on, bytes and metadata.
func (e *fakeEdge) forward(_ any, in grpc.ServerStream) error {
	path, _ := grpc.MethodFromServerStream(in)
	name := strings.TrimPrefix(path, "/")
	name = name[:strings.LastIndexByte(name, '/')]
	name = name[:strings.LastIndexByte(name, '.')]
	md, _ := metadata.FromIncomingContext(in.Context())
	e.mu.Lock()
	target := e.nodes[name]
	if name != "auth" && name != "registry" {
		e.seen = append(e.seen, md)
	}
	e.mu.Unlock()
	if target == nil {
		return errors.New(codes.Internal, "service %s: route not found", name)
	}
	conn, err := grpc.NewClient(target.GetNodes()[0].GetAddress(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	subtype := strings.TrimPrefix(strings.TrimPrefix(md.Get("content-type")[0], "application/grpc"), "+")
	md = md.Copy()
	md.Delete("content-type")
	out, err := conn.NewStream(metadata.NewOutgoingContext(in.Context(), md), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, path,
		grpc.ForceCodecV2(bytesCodec{}), grpc.CallContentSubtype(subtype))
	if err != nil {
		return err
	}
	go func() {
		for {
			var b mem.BufferSlice
			if err := in.RecvMsg(&b); err != nil {
				out.CloseSend() //nolint:errcheck // always nil
				return
			}
			if out.SendMsg(b) != nil {
				return
			}
		}
	}()
	for {
		var b mem.BufferSlice
		if err := out.RecvMsg(&b); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := in.SendMsg(b); err != nil {
			return err
		}
	}
}

// lastSeen is the metadata of the call that was passed on last.
func (e *fakeEdge) lastSeen() metadata.MD {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.seen[len(e.seen)-1]
}

// bytesCodec passes messages on as they are.
type bytesCodec struct{}

func (bytesCodec) Name() string                           { return "" }
func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) { return v.(mem.BufferSlice), nil }
func (bytesCodec) Unmarshal(b mem.BufferSlice, v any) error {
	b.Ref()
	*v.(*mem.BufferSlice) = b
	return nil
}
