package app

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type options struct {
	Port int `env:"PORT" default:"1" help:"a number"`
}

func config(components ...Component) Config {
	return Config{Components: components, Environ: map[string]string{}, Log: slog.New(slog.DiscardHandler),
		Platform: Platform{ClusterSecret: "a cluster secret that only tests use"}}
}

// TestRunStopsInReverse shows the order of starting and stopping.
func TestRunStopsInReverse(t *testing.T) {
	t.Parallel()
	var order []string
	component := func(name string) Component {
		return New(name, func(_ context.Context, h *Host, o options) error {
			order = append(order, "start "+name)
			h.OnStop(func(context.Context) { order = append(order, "stop "+name) })
			return nil
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cfg := config(component("a"), component("b"))
	cfg.Ready = cancel
	if err := Run(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(order, ", "); got != "start a, start b, stop b, stop a" {
		t.Error(got)
	}
}

// TestFailureOfOneStopsAll shows that a goroutine's error ends the process, and
// that its component is named.
func TestFailureOfOneStopsAll(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	stopped := false
	good := New("good", func(_ context.Context, h *Host, _ options) error {
		h.Go("work", func(ctx context.Context) error { <-ctx.Done(); stopped = true; return ctx.Err() })
		return nil
	})
	bad := New("bad", func(_ context.Context, h *Host, _ options) error {
		h.Go("work", func(context.Context) error { return broken })
		return nil
	})
	err := Run(t.Context(), config(good, bad))
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "bad: work") || !stopped {
		t.Errorf("Run = %v, stopped %v", err, stopped)
	}
}

func TestPortTaken(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := New("edge", func(_ context.Context, h *Host, _ options) error {
		_, err := h.Listen("MICRO_EDGE_ADDRESS", l.Addr().String())
		return err
	})
	err = Run(t.Context(), config(c))
	if err == nil || !strings.Contains(err.Error(), "MICRO_EDGE_ADDRESS") || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("Run = %v, want the setting and the reason", err)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"short cluster secret", func(c *Config) { c.Platform.ClusterSecret = "short" }, "MICRO_CLUSTER_SECRET"},
		{"other cluster secret is short", func(c *Config) { c.Platform.ClusterAlso = "short" }, "MICRO_CLUSTER_SECRET_ALSO must have at least 32"},
		{"both cluster secrets are one", func(c *Config) { c.Platform.ClusterAlso = c.Platform.ClusterSecret }, "MICRO_CLUSTER_SECRET_ALSO is the same"},
		{"two cluster secrets and no id", func(c *Config) { c.Platform.ClusterAlso = "another cluster secret that tests use" }, "MICRO_CLUSTER_ID must be set"},
		{"no id of a cluster", func(c *Config) { c.Platform.Cluster = "production" }, "MICRO_CLUSTER_ID"},
		{"bad option", func(c *Config) { c.Environ["MICRO_A_PORT"] = "x" }, "Port"},
		{"apart beyond loopback", func(c *Config) { c.Apart = true; c.Environ["MICRO_AUTH_ADDRESS"] = "10.0.0.1:1" }, "MICRO_AUTH_ADDRESS"},
		{"one of them beyond loopback", func(c *Config) { c.Environ["MICRO_AUTH_ADDRESS"] = "127.0.0.1:1, 10.0.0.1:1" }, "MICRO_AUTH_ADDRESS is 10.0.0.1:1"},
		{"a name without certificates", func(c *Config) { c.Environ["MICRO_AUTH_ADDRESS"] = "auth:8010" }, "MICRO_TLS_DIR"},
		{"certificate without key", func(c *Config) { c.Platform.TLSCert = "auth.pem" }, "MICRO_TLS_KEY"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := config(New("a", func(context.Context, *Host, options) error { return nil }))
			tt.change(&cfg)
			if err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Run = %v, want %s named", err, tt.want)
			}
		})
	}
}

func TestSelect(t *testing.T) {
	t.Parallel()
	a := New("a", func(context.Context, *Host, options) error { return nil })
	b := New("b", func(context.Context, *Host, options) error { return nil })
	got, err := Select([]Component{a, b}, []string{"b", "a"})
	if err != nil || len(got) != 2 || got[0].Name != "a" {
		t.Errorf("Select = %v, %v; want the order of starting", got, err)
	}
	if _, err := Select([]Component{a, b}, []string{"c"}); err == nil || !strings.Contains(err.Error(), `"c"; there are: a, b`) {
		t.Errorf("Select = %v, want what there is", err)
	}
}
