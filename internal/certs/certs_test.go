package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authority makes one, with certificates for components.
func authority(t *testing.T, components ...string) *Authority {
	t.Helper()
	a := Open(t.TempDir())
	if err := a.Init(); err != nil {
		t.Fatal(err)
	}
	issue(t, a, time.Hour, components...)
	return a
}

func issue(t *testing.T, a *Authority, life time.Duration, components ...string) {
	t.Helper()
	for _, c := range components {
		if _, err := a.Issue(c, nil, life); err != nil {
			t.Fatal(err)
		}
	}
}

func keeper(t *testing.T, a *Authority, component string) *Keeper {
	t.Helper()
	return keeperSaying(t, a, component, io.Discard)
}

// keeperSaying is a keeper that logs to said.
func keeperSaying(t *testing.T, a *Authority, component string, said io.Writer) *Keeper {
	t.Helper()
	k, err := NewKeeper(component, In(a.dir, component), slog.New(slog.NewTextHandler(said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// serve serves health with those credentials and tells who called.
func serve(t *testing.T, c credentials.TransportCredentials) (address string, caller *atomic.Value) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	caller = &atomic.Value{}
	s := grpc.NewServer(grpc.Creds(c), grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		if name, ok := Peer(ctx); ok {
			caller.Store(name)
		}
		return handle(ctx, req)
	}))
	healthpb.RegisterHealthServer(s, health.NewServer())
	go s.Serve(l) //nolint:errcheck // ends by Stop
	t.Cleanup(s.Stop)
	return l.Addr().String(), caller
}

func call(t *testing.T, address string, c credentials.TransportCredentials) error {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(c))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err = healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	return err
}

func TestHandshake(t *testing.T) {
	t.Parallel()
	ours, theirs := authority(t, "auth", "console", "proxy"), authority(t, "auth", "proxy")
	address, caller := serve(t, keeper(t, ours, "auth").Server())
	stolen, _ := serve(t, keeper(t, ours, "console").Server())
	foreign, _ := serve(t, keeper(t, theirs, "auth").Server())
	proxy := keeper(t, ours, "proxy")
	old := credentials.NewTLS(&tls.Config{RootCAs: proxy.held.authorities, ServerName: ServerName("auth"), Certificates: []tls.Certificate{proxy.held.pair}, MaxVersion: tls.VersionTLS12})
	if err := call(t, address, proxy.Client("auth")); err != nil || caller.Load() != "proxy" {
		t.Fatalf("proxy calls auth: %v, and auth sees %v", err, caller.Load())
	}
	for _, tt := range []struct {
		name, address, want string
		with                credentials.TransportCredentials
	}{
		{"another component's certificate", stolen, "console.micro.internal", proxy.Client("auth")},
		{"a server of another authority", foreign, "unknown authority", proxy.Client("auth")},
		{"an old version", address, "protocol version", old},
		{"no TLS", address, "", insecure.NewCredentials()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := call(t, tt.address, tt.with); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("call = %v, want %q", err, tt.want)
			}
		})
	}
}

// TestRefusedClients shows that a server refuses clients without a certificate of
// its authority, and logs why. The client may not hear of it: the server has
// closed before the client has written.
func TestRefusedClients(t *testing.T) {
	t.Parallel()
	ours, theirs := authority(t, "auth", "proxy"), authority(t, "proxy")
	trusted := keeper(t, ours, "proxy").held.authorities
	impostor := keeper(t, theirs, "proxy") // who trusts the authority, and is not trusted by it
	impostor.held.authorities = trusted
	nobody := credentials.NewTLS(&tls.Config{RootCAs: trusted, ServerName: ServerName("auth"), MinVersion: tls.VersionTLS13})
	for _, tt := range []struct {
		name, want string
		with       credentials.TransportCredentials
	}{
		{"of another authority", "unknown authority", impostor.Client("auth")},
		{"without certificate", "provide a certificate", nobody},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var said log
			address, _ := serve(t, keeperSaying(t, ours, "auth", &said).Server())
			if err := call(t, address, tt.with); err == nil {
				t.Error("the call went through")
			}
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for deadline := time.Now().Add(5 * time.Second); !strings.Contains(said.String(), tt.want); <-tick.C {
				if time.Now().After(deadline) {
					t.Fatalf("the server says %q, want %q", said.String(), tt.want)
				}
			}
		})
	}
}

// log keeps what is logged.
type log struct {
	mu  sync.Mutex
	all strings.Builder
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// TestExpired shows that a certificate that is over is refused by both sides,
// and that the logs say which.
func TestExpired(t *testing.T) {
	t.Parallel()
	a := authority(t, "auth", "proxy")
	var said log
	logger := slog.New(slog.NewTextHandler(&said, nil))
	server, err := NewKeeper("auth", In(a.dir, "auth"), logger)
	if err != nil {
		t.Fatal(err)
	}
	address, _ := serve(t, server.Server())
	proxy := keeper(t, a, "proxy")
	a.now = func() time.Time { return time.Now().Add(-2 * time.Hour) }
	issue(t, a, time.Hour, "proxy")
	if _, err := NewKeeper("proxy", In(a.dir, "proxy"), logger); err == nil || !strings.Contains(err.Error(), `issue another with "micro certs issue proxy"`) {
		t.Errorf("an expired certificate at start: %v", err)
	}
	// One that is over in the meantime: its owner thinks that it is earlier.
	proxy.now = func() time.Time { return time.Now().Add(time.Minute - 90*time.Minute) }
	proxy.looked = time.Time{}
	if err := call(t, address, proxy.Client("auth")); err == nil {
		t.Fatal("a call with an expired certificate went through")
	}
	if got := said.String(); !strings.Contains(got, "a certificate is refused") || !strings.Contains(got, "expired") {
		t.Errorf("the server's log has no reason: %s", got)
	}
}

// TestRotation replaces all certificates and then the authority while calls go
// on over connections that are made anew each time: none fails.
func TestRotation(t *testing.T) {
	t.Parallel()
	a := authority(t, "auth", "proxy")
	server, client := keeper(t, a, "auth"), keeper(t, a, "proxy")
	address, _ := serve(t, server.Server())
	ctx, stop := context.WithCancel(t.Context())
	var calls, failed atomic.Int64
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for ctx.Err() == nil {
				calls.Add(1)
				if err := call(t, address, client.Client("auth")); err != nil {
					failed.Add(1)
					t.Error(err)
				}
			}
		})
	}
	for _, step := range []func() error{
		func() error { issue(t, a, time.Hour, "auth", "proxy"); return nil },
		a.Begin,
		a.Switch,
		func() error { issue(t, a, time.Hour, "proxy"); return nil },
		func() error { issue(t, a, time.Hour, "auth"); return nil },
		a.End,
	} {
		if err := step(); err != nil {
			t.Error(err)
		}
		seen, err := server.state()
		if err != nil {
			t.Error(err)
		}
		await(t, func() bool { return has(server, seen) })
		seen, err = client.state()
		if err != nil {
			t.Error(err)
		}
		await(t, func() bool { return has(client, seen) })
	}
	stop()
	all.Wait()
	t.Logf("%d calls, %d failed", calls.Load(), failed.Load())
	if calls.Load() < 100 {
		t.Errorf("only %d calls", calls.Load())
	}
}

func has(k *Keeper, state string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.seen == state
}

func await(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); {
		if time.Now().After(end) {
			t.Fatal("the files were not read again")
		}
		select {
		case <-t.Context().Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// TestFilesThatDoNotFit shows that a keeper goes on with what it has.
func TestFilesThatDoNotFit(t *testing.T) {
	t.Parallel()
	a := authority(t, "auth", "proxy")
	k := keeper(t, a, "auth")
	had := k.current().pair.Leaf.SerialNumber
	for _, content := range []string{"", "rubbish", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		if err := os.WriteFile(k.files.Key, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		k.looked = time.Time{}
		if k.current().pair.Leaf.SerialNumber.Cmp(had) != 0 {
			t.Error("another certificate")
		}
	}
	issue(t, a, time.Hour, "auth")
	k.looked = time.Time{}
	if k.current().pair.Leaf.SerialNumber.Cmp(had) == 0 {
		t.Error("the new certificate is not used")
	}
	if _, err := NewKeeper("auth", In(a.dir, "proxy"), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), `certificate of "proxy", not of component auth`) {
		t.Errorf("another component's certificate: %v", err)
	}
}

func TestAuthority(t *testing.T) {
	t.Parallel()
	a := authority(t, "auth")
	if err := a.Init(); err == nil {
		t.Error("an authority was overwritten")
	}
	for _, host := range []string{"", "a b", "10.0.0.1:80", "*.example.com", "console.micro.internal"} {
		if _, err := a.Issue("auth", []string{host}, time.Hour); err == nil {
			t.Errorf("host %q was taken", host)
		}
	}
	if _, err := a.Issue("auth", []string{"10.0.0.1", "host-1"}, time.Hour); err != nil {
		t.Fatal(err)
	}
	if again, err := a.Issue("auth", nil, time.Hour); err != nil || len(again.Names) != 2 || len(again.Addresses) != 1 {
		t.Errorf("issued again = %+v, %v; want the hosts it had", again, err)
	}
	files, err := filepath.Glob(filepath.Join(a.dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", f, info.Mode(), err)
		}
	}
	if err := errors.Join(a.Begin(), a.Switch()); err != nil {
		t.Fatal(err)
	}
	if err := a.End(); err == nil || !strings.Contains(err.Error(), "auth") {
		t.Errorf("the old authority ended before its certificates: %v", err)
	}
}
