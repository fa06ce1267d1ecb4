// Package edgetest gives an edge under test what it stands on: an auth, a
// registry and a namespaces that push what a test decides, and services to call.
// They speak over gRPC, as the real ones do; what is small about them is what
// they know.
package edgetest

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/redistest"
	"github.com/micro/platform/internal/settings"
	authpb "github.com/micro/platform/proto/auth"
	registrypb "github.com/micro/platform/proto/registry"
)

// Platform is the surroundings of an edge.
type Platform struct {
	// Seen is called with the context of every call that reaches auth,
	// registry or namespaces, the edges' own included. Set it before Run.
	Seen func(context.Context)
	// Also registers more APIs with the three. Set it before Run.
	Also map[string]func(grpc.ServiceRegistrar)

	key        *rsa.PrivateKey
	auth       *auth
	registry   *registry
	namespaces *namespaces
}

// New makes a Platform in which nothing is registered.
func New(t testing.TB) *Platform {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p := &Platform{key: key, registry: &registry{versions: map[string]*registrypb.Service{}}, namespaces: &namespaces{}}
	p.auth = &auth{platform: p, apiTokens: map[string]identity.Caller{}}
	return p
}

// Run runs components on the platform until the test ends, and comes back when
// they have started.
func (p *Platform) Run(t testing.TB, environ map[string]string, components ...app.Component) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	state, redis := t.TempDir(), redistest.URL(t)
	ready, ended := make(chan struct{}), make(chan error, 1)
	all := append([]app.Component{p.component("auth", p.auth.register), p.component("registry", p.registry.register),
		p.component("namespaces", p.namespaces.register)}, components...)
	go func() {
		ended <- app.Run(ctx, app.Config{
			Components: all, Environ: environ, Log: slog.New(slog.DiscardHandler), Ready: func() { close(ready) },
			Platform: app.Platform{ClusterSecret: "a cluster secret that only tests use", StateDir: state, RedisURL: settings.Secret(redis)},
		})
	}()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal("the components did not start: ", err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

type none struct{}

func (p *Platform) component(name string, register func(grpc.ServiceRegistrar)) app.Component {
	return Component(name, func(s grpc.ServiceRegistrar) {
		if p.Seen != nil {
			s = seeing{s, p.Seen}
		}
		register(s)
		if also := p.Also[name]; also != nil {
			also(s)
		}
	})
}

// seeing shows every call before it is handled.
type seeing struct {
	grpc.ServiceRegistrar
	show func(context.Context)
}

// RegisterService implements grpc.ServiceRegistrar.
func (s seeing) RegisterService(d *grpc.ServiceDesc, impl any) {
	shown := *d
	shown.Methods, shown.Streams = slices.Clone(d.Methods), slices.Clone(d.Streams)
	for i, m := range d.Methods {
		shown.Methods[i].Handler = func(srv any, ctx context.Context, dec func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
			s.show(ctx)
			return m.Handler(srv, ctx, dec, interceptor)
		}
	}
	for i, m := range d.Streams {
		shown.Streams[i].Handler = func(srv any, in grpc.ServerStream) error {
			s.show(in.Context())
			return m.Handler(srv, in)
		}
	}
	s.ServiceRegistrar.RegisterService(&shown, impl)
}

// Component serves an API that needs nothing but the host.
func Component(name string, register func(grpc.ServiceRegistrar)) app.Component {
	return app.New(name, func(_ context.Context, h *app.Host, _ none) error {
		s, err := h.Server()
		if err != nil {
			return err
		}
		register(s)
		return h.Serve(s)
	})
}

// Token signs a token for a caller. Times that are not set are now and in an
// hour.
func (p *Platform) Token(t testing.TB, c identity.Caller) string {
	t.Helper()
	token, err := p.sign(c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (p *Platform) sign(c identity.Caller) (string, error) {
	if c.Issued.IsZero() {
		c.Issued = time.Now()
	}
	if c.Expires.IsZero() {
		c.Expires = time.Now().Add(time.Hour)
	}
	var limits []string
	for _, g := range c.Grants {
		limits = append(limits, g.String())
	}
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, identity.Claims{
		RegisteredClaims: jwt.RegisteredClaims{Subject: c.ID, Issuer: c.Namespace,
			IssuedAt: jwt.NewNumericDate(c.Issued), ExpiresAt: jwt.NewNumericDate(c.Expires)},
		Type: c.Type, Scopes: c.Scopes, Name: c.Name, Epoch: c.Epoch, Session: c.Session, Grants: limits,
	})
	token.Header["kid"] = "test"
	return token.SignedString(p.key)
}

// PublicKey is the key that tokens are verified with, as auth publishes it.
func (p *Platform) PublicKey(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&p.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// User is a token of a person of a namespace.
func (p *Platform) User(t testing.TB, namespace string, scopes ...string) string {
	t.Helper()
	return p.Token(t, identity.Caller{ID: "jane@" + namespace, Namespace: namespace, Type: identity.User, Scopes: scopes})
}

// APIToken makes an API token of a caller whose session is its id. Auth keeps it
// until RevokeAPIToken.
func (p *Platform) APIToken(c identity.Caller) string {
	secret := "mtk_" + rand.Text()
	p.auth.mu.Lock()
	defer p.auth.mu.Unlock()
	p.auth.apiTokens[secret] = c
	return secret
}

// RevokeAPIToken ends an API token, and tells the edges.
func (p *Platform) RevokeAPIToken(secret string) {
	p.auth.mu.Lock()
	c := p.auth.apiTokens[secret]
	delete(p.auth.apiTokens, secret)
	p.auth.mu.Unlock()
	p.Change(&authpb.Change{Revocation: &authpb.Revocation{Namespace: c.Namespace, Session: c.Session, Expires: time.Now().Add(time.Hour).Unix()}})
}

// Exchanges answers how often an edge asked about an API token.
func (p *Platform) Exchanges() int {
	p.auth.mu.Lock()
	defer p.auth.mu.Unlock()
	return p.auth.exchanges
}

// Change pushes a change to the edges, and into the snapshot of later ones.
func (p *Platform) Change(c *authpb.Change) { p.auth.feed.send(c) }

// Public lets everybody call everything in a namespace.
func (p *Platform) Public(namespace string) {
	p.Change(&authpb.Change{Rules: &authpb.RuleSet{Namespace: namespace, Rules: []*authpb.Rule{{
		Id: "public", Access: authpb.Access_GRANTED, Resource: &authpb.Resource{Type: "*", Name: "*", Endpoint: "*"},
	}}}})
}

// Drop ends the streams of every edge, as a restart of the components does.
func (p *Platform) Drop() {
	p.auth.feed.drop()
	p.registry.feed.drop()
	p.namespaces.feed.drop()
}

// Register puts a version of a service in place of what was known of it, and
// tells the edges; without nodes it is gone.
func (p *Platform) Register(namespace string, s *registrypb.Service) {
	p.registry.put(namespace, s, true)
}

// RegisterQuietly is Register, but no edge is told.
func (p *Platform) RegisterQuietly(namespace string, s *registrypb.Service) {
	p.registry.put(namespace, s, false)
}

// auth answers keys and component tokens, and pushes changes.
type auth struct {
	platform *Platform
	feed     feed[*authpb.Change]

	mu        sync.Mutex
	apiTokens map[string]identity.Caller
	exchanges int
}

func (a *auth) register(s grpc.ServiceRegistrar) {
	authpb.RegisterKeysServer(s, keys{auth: a})
	authpb.RegisterComponentsServer(s, parts{auth: a})
	authpb.RegisterAuthServer(s, accounts{auth: a})
}

type accounts struct {
	authpb.UnimplementedAuthServer
	*auth
}

// Inspect answers who the edge says is calling, and the metadata that it sent.
func (accounts) Inspect(ctx context.Context, _ *authpb.InspectRequest) (*authpb.InspectResponse, error) {
	c, err := identity.Require(ctx)
	if err != nil {
		return nil, err
	}
	return &authpb.InspectResponse{Account: &authpb.Account{Id: c.ID, Issuer: c.Namespace, Metadata: Seen(ctx)}}, nil
}

type keys struct {
	authpb.UnimplementedKeysServer
	*auth
}

// List implements authpb.KeysServer.
func (k keys) List(context.Context, *authpb.ListKeysRequest) (*authpb.ListKeysResponse, error) {
	der, err := x509.MarshalPKIXPublicKey(&k.platform.key.PublicKey)
	return &authpb.ListKeysResponse{Keys: []*authpb.Key{{Id: "test", Der: der}}}, err
}

type parts struct {
	authpb.UnimplementedComponentsServer
	*auth
}

// Token implements authpb.ComponentsServer.
func (c parts) Token(_ context.Context, r *authpb.ComponentTokenRequest) (*authpb.TokenResponse, error) {
	token, err := c.platform.sign(identity.Caller{ID: r.GetName(), Namespace: identity.Platform, Type: identity.Component})
	return &authpb.TokenResponse{Token: &authpb.Token{AccessToken: token, Expiry: time.Now().Add(time.Hour).Unix()}}, err
}

// Exchange implements authpb.ComponentsServer.
func (c parts) Exchange(ctx context.Context, r *authpb.ExchangeRequest) (*authpb.ExchangeResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.exchanges++
	caller, ok := c.apiTokens[r.GetToken()]
	if !ok || !caller.Expires.IsZero() && time.Now().After(caller.Expires) {
		return nil, errors.New(codes.Unauthenticated, "the API token is unknown or was revoked")
	}
	token, err := c.platform.sign(caller)
	return &authpb.ExchangeResponse{AccessToken: token, Expires: time.Now().Add(time.Hour).Unix(), Keep: 60}, err
}

// Watch implements authpb.ComponentsServer.
func (c parts) Watch(_ *authpb.WatchRequest, s grpc.ServerStreamingServer[authpb.Change]) error {
	if err := identity.RequireComponent(s.Context()); err != nil {
		return err
	}
	return c.feed.serve(s.Context(), &authpb.Change{Ready: true}, s.Send)
}

// feed sends a stream of things to everybody who watches, from the first on.
type feed[T any] struct {
	mu   sync.Mutex
	sent []T
	wake chan struct{} // closed at the next change
	gone chan struct{} // closed when the streams are to end
}

func (f *feed[T]) init() {
	if f.wake == nil {
		f.wake, f.gone = make(chan struct{}), make(chan struct{})
	}
}

func (f *feed[T]) send(v T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.init()
	f.sent = append(f.sent, v)
	close(f.wake)
	f.wake = make(chan struct{})
}

func (f *feed[T]) drop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.init()
	close(f.gone)
	f.gone = make(chan struct{})
}

// serve sends what was sent before, ready, and then what comes.
func (f *feed[T]) serve(ctx context.Context, ready T, send func(T) error) error {
	for next, told := 0, false; ; {
		f.mu.Lock()
		f.init()
		todo, wake, gone := f.sent[next:], f.wake, f.gone
		f.mu.Unlock()
		next += len(todo)
		if !told {
			todo, told = append(todo[:len(todo):len(todo)], ready), true
		}
		for _, v := range todo {
			if err := send(v); err != nil {
				return err
			}
		}
		select {
		case <-wake:
		case <-gone:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}
