package app

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/micro/platform/internal/certs"
	"github.com/micro/platform/internal/porttest"
)

// serving is a component that serves health and no more.
func serving(name string) Component {
	return New(name, func(_ context.Context, h *Host, _ options) error {
		s, err := h.Server()
		if err != nil {
			return err
		}
		return h.Serve(s)
	})
}

// asking is a component that asks another for its health, and stops the process
// with the answer.
func asking(name, other string, answer chan<- error) Component {
	return New(name, func(_ context.Context, h *Host, _ options) error {
		conn, err := h.Conn(other)
		if err != nil {
			return err
		}
		h.Go("ask", func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			_, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
			answer <- err
			return nil
		})
		return nil
	})
}

// TestMutualTLS shows that components in other processes speak TLS where there
// are certificates, and with nobody who has none.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	dir := certificates(t, nil, "auth", "network")
	port, err := porttest.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	apart := func(tls string, c Component) Config {
		return Config{Components: []Component{c}, Apart: true, Log: slog.New(slog.DiscardHandler),
			Environ:  map[string]string{"MICRO_AUTH_ADDRESS": fmt.Sprintf("127.0.0.1:%d", port)},
			Platform: Platform{ClusterSecret: "a cluster secret that only tests use", TLSDir: tls}}
	}
	start(t, apart(dir, serving("auth")))
	for tls, good := range map[string]bool{dir: true, "": false} {
		answer := make(chan error, 1)
		start(t, apart(tls, asking("network", "auth", answer)))
		if err := <-answer; (err == nil) != good {
			t.Errorf("with certificates %t: %v", good, err)
		}
	}
	answer := make(chan error, 1)
	if err := Run(t.Context(), apart(dir, asking("usage", "auth", answer))); err == nil {
		t.Error("a component without a certificate started")
	}
}

// start runs components until the test ends, and comes back when they serve.
func start(t *testing.T, cfg Config) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	cfg.Ready = func() { close(ready) }
	go func() { ended <- Run(ctx, cfg); close(ended) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
}

func TestListenAddress(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, address, listen, want string }{
		{"nothing set", "", "", "127.0.0.1:8010"},
		{"one address", "10.0.0.1:1", "", "10.0.0.1:1"},
		{"a name", "auth:8010", "", ":8010"},
		{"several on one port", "10.0.0.1:8010,10.0.0.2:8010", "", ":8010"},
		{"said", "10.0.0.1:1,10.0.0.2:2", "10.0.0.2:2", "10.0.0.2:2"},
		{"several ports", "127.0.0.1:1,127.0.0.1:2", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := listenAddress("auth", map[string]string{"MICRO_AUTH_ADDRESS": tt.address, "MICRO_AUTH_LISTEN": tt.listen})
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("listenAddress = %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

// certificates makes an authority, and certificates of components on hosts.
func certificates(t *testing.T, hosts []string, components ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	a := certs.Open(dir)
	if err := a.Init(); err != nil {
		t.Fatal(err)
	}
	for _, name := range components {
		if _, err := a.Issue(name, hosts, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
