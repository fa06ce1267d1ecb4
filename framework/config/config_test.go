package config

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/micro/platform/framework/client"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pgtest"
	"github.com/micro/platform/internal/seal"
	configpb "github.com/micro/platform/proto/config"
	platform "github.com/micro/platform/services/config"
)

const patience = 10 * time.Second

// server is the platform's real config, for a service of namespace demo. It
// can go away and come back.
type server struct {
	svc     *platform.Service
	address string
	stop    func()
	calls   func() int // unary ones
}

func start(t *testing.T) *server {
	t.Helper()
	box, err := seal.New(seal.Cluster{Secret: pgtest.Secret}, "config")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{address: "127.0.0.1:0"}
	s.svc = platform.New(pgtest.New(t, "config"), box, slog.New(slog.DiscardHandler), platform.Options{MaxBytes: 1 << 20, MaxValues: 1000, History: 10, Watchers: 10})
	if err := s.svc.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.svc.Listen(ctx) }() //nolint:errcheck // it only ends when told
	t.Cleanup(func() { s.stop(); cancel(); <-done })
	s.serve(t)
	return s
}

func (s *server) serve(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	s.address = l.Addr().String()
	var mu sync.Mutex
	n := 0
	s.calls = func() int { mu.Lock(); defer mu.Unlock(); return n }
	as := func(ctx context.Context) context.Context {
		return identity.With(ctx, identity.Caller{ID: "svc", Type: identity.Service, Namespace: "demo", Scopes: []string{"service"}})
	}
	g := grpc.NewServer(
		grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			mu.Lock()
			n++
			mu.Unlock()
			return handle(as(ctx), req)
		}),
		grpc.StreamInterceptor(func(srv any, st grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			return handle(srv, stream{st, as(st.Context())})
		}),
	)
	configpb.RegisterConfigServer(g, s.svc)
	go g.Serve(l) //nolint:errcheck // it ends by Stop
	s.stop = g.Stop
}

type stream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s stream) Context() context.Context { return s.ctx }

func (s *server) config(t *testing.T) *Config {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+s.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	c := New(client.New(conn, client.Options{Namespace: "demo", Token: func(context.Context) (string, error) { return "", nil }}))
	t.Cleanup(func() { c.Close(); conn.Close() })
	return c
}

// eventually waits until a value is what it should be.
func eventually(t *testing.T, c *Config, path, want string) {
	t.Helper()
	got := ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		if got = c.Get(path).String("none"); got == want {
			return
		}
	}
	t.Fatalf("%s = %q, want %q", path, got, want)
}

// TestGet shows defaults, caching, one's own changes at once, and others' soon.
func TestGet(t *testing.T) {
	t.Parallel()
	s := start(t)
	c, other := s.config(t), s.config(t)
	if v := c.Get("a.b"); v.Err() != nil || v.Exists() || v.Int(7) != 7 {
		t.Errorf("nothing = %v, %v, %d", v.Err(), v.Exists(), v.Int(7))
	}
	if err := c.Set("a", map[string]any{"b": 1, "s": "x"}); err != nil {
		t.Fatal(err)
	}
	if got := c.Get("a.b").Int(7); got != 1 {
		t.Errorf("after one's own Set = %d", got)
	}
	if err := c.Set("key", "hush", Secret(true)); err != nil {
		t.Fatal(err)
	}
	if plain, secret := c.Get("key").String(""), c.Get("key", Secret(true)).String(""); plain != "[secret]" || secret != "hush" {
		t.Errorf("secret = %q, hidden %q", secret, plain)
	}
	before := s.calls()
	for range 100 {
		c.Get("a.b")
	}
	if n := s.calls() - before; n != 0 {
		t.Errorf("100 Gets made %d calls", n)
	}
	if err := other.Set("a.b", 2); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	eventually(t, c, "a.b", "2")
	if took := time.Since(began); took > time.Second {
		t.Errorf("another's change took %v", took)
	}
	if err := other.Delete("a.s"); err != nil {
		t.Fatal(err)
	}
	eventually(t, c, "a.s", "none")
	if err := c.Set("a..b", 1); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("Set of a bad path = %v", err)
	}
	if err := c.Set("a", make(chan int)); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("Set of what is no JSON = %v", err)
	}
}

// TestAway shows that what is known stays in force while the platform is away,
// and that changes are heard of again when it is back.
func TestAway(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.config(t)
	if err := c.Set("a", "x"); err != nil {
		t.Fatal(err)
	}
	eventually(t, c, "a", "x")
	s.stop()
	if got := c.Get("a"); got.Err() != nil || got.String("") != "x" {
		t.Errorf("while it is away = %q, %v", got.String(""), got.Err())
	}
	late := s.config(t)
	if v := late.Get("a"); v.Err() == nil || v.String("default") != "default" {
		t.Errorf("who knows nothing yet = %q, %v", v.String("default"), v.Err())
	}
	s.serve(t)
	if err := s.config(t).Set("a", "y"); err != nil {
		t.Fatal(err)
	}
	eventually(t, c, "a", "y")
	eventually(t, late, "a", "y")
}

func TestWatch(t *testing.T) {
	t.Parallel()
	s := start(t)
	c, other := s.config(t), s.config(t)
	ctx, cancel := context.WithCancel(t.Context())
	seen, ended := make(chan string), make(chan error, 1)
	go func() { ended <- c.Watch(ctx, "a", func(v Value) { seen <- v.String("none") }) }()
	for _, want := range []string{"none", "1", "2"} {
		if want != "none" {
			if err := other.Set("b", want); err != nil { // which does not concern it
				t.Fatal(err)
			}
			if err := other.Set("a", want); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case got := <-seen:
			if got != want {
				t.Errorf("watched %s, want %s", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("%s was not seen", want)
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Watch = %v", err)
	}
}
