package app

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	"github.com/micro/platform/framework/debug"
	"github.com/micro/platform/internal/certs"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/rpc"
	"github.com/micro/platform/internal/telemetry"
	authpb "github.com/micro/platform/proto/auth"
)

// Config says what runs in this process.
type Config struct {
	// Components run here, in this order; they stop in reverse.
	Components []Component
	// Apart makes them listen on addresses of their own, for components in
	// other processes.
	Apart   bool
	Environ map[string]string
	// Platform overrides what the environment says, where it is set: micro
	// server brings its own databases.
	Platform Platform
	Log      *slog.Logger
	// Ready is called when every component has started.
	Ready func()
	// Failed ends the process when it yields: something that the components
	// stand on is gone. It may be nil.
	Failed <-chan error
}

// traced is what the process is called in traces.
func (g *group) traced() string {
	if len(g.names) == 1 {
		return g.names[0]
	}
	return "server"
}

// Run runs components until ctx ends or one of them fails.
func Run(ctx context.Context, cfg Config) error {
	if err := cfg.check(); err != nil {
		return err
	}
	g := newGroup(cfg)
	defer g.close()
	if at := cfg.Platform.OTLPEndpoint; at != "" {
		flush, err := telemetry.Trace(ctx, at, g.traced(), cfg.Platform.OTLPSample)
		if err != nil {
			return fmt.Errorf("MICRO_OTLP_ENDPOINT: %w", err)
		}
		defer flush()
	}
	stopOps, err := g.operate(ctx)
	if err != nil {
		return err
	}
	defer stopOps()
	told := ctx
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var hosts []*Host
	defer func() { g.health.Leave(); stopAll(ctx, hosts, cfg.stopBudget()) }()
	for _, c := range cfg.Components {
		o, err := c.load(cfg.Environ)
		if err != nil {
			return err
		}
		h := g.host(ctx, c.Name, fail)
		hosts = append(hosts, h)
		if err := c.run(ctx, h, o); err != nil {
			return fmt.Errorf("start %s: %w", c.Name, err)
		}
		h.Log.Debug("component started")
	}
	g.health.Started()
	if cfg.Ready != nil {
		cfg.Ready()
	}
	select {
	case <-ctx.Done():
	case err := <-cfg.Failed:
		return err
	}
	if told.Err() != nil {
		return nil // a signal, not a failure
	}
	return context.Cause(ctx)
}

// stopAll stops what was started last first, within one budget.
func stopAll(ctx context.Context, hosts []*Host, budget time.Duration) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), budget)
	defer cancel()
	for _, h := range slices.Backward(hosts) {
		h.shutdown(ctx)
	}
}

func (c Config) check() error {
	if err := c.Platform.CheckSecrets(); err != nil {
		return err
	}
	if err := c.Platform.checkTLS(); err != nil {
		return err
	}
	return checkAddresses(c)
}

// group is the components of one process and their ways to each other.
type group struct {
	Config
	names []string

	mu      sync.Mutex
	pipes   map[string]*bufconn.Listener
	locals  map[string]*rpc.Server
	conns   map[[2]string]*grpc.ClientConn
	tokens  map[string]*ownToken
	keepers map[string]*certs.Keeper

	health  *telemetry.Health
	metrics *telemetry.Metrics
	clocks  *clocks
	clock   sync.Once // one component's Postgres has to tell the time
}

func newGroup(cfg Config) *group {
	g := &group{Config: cfg, pipes: map[string]*bufconn.Listener{}, locals: map[string]*rpc.Server{}, conns: map[[2]string]*grpc.ClientConn{}, tokens: map[string]*ownToken{}, keepers: map[string]*certs.Keeper{}}
	g.health = telemetry.NewHealth()
	g.metrics = telemetry.NewMetrics(g.health)
	g.clocks = newClocks()
	for _, c := range cfg.Components {
		g.names = append(g.names, c.Name)
	}
	g.health.Gate(g.names[0], g.clocks.off)
	g.metrics.Ask(g.names[0], "micro_clock_skew_seconds", "How far the clock of the process is ahead of the one of Postgres, or else of those of most others.", g.clocks.skew)
	return g
}

func (g *group) host(ctx context.Context, name string, fail context.CancelCauseFunc) *Host {
	h := &Host{Name: name, Log: g.Log.With("component", name), Platform: g.Platform, group: g, fail: fail, debug: debug.New()}
	if g.Apart { // it works on while it drains
		ctx = context.WithoutCancel(ctx)
	}
	h.ctx, h.stop = context.WithCancel(ctx)
	h.keys = sync.OnceValues(func() (*identity.KeySet, error) {
		conn, err := h.Conn("auth")
		if err != nil {
			return nil, err
		}
		return identity.NewKeySet(authpb.NewKeysClient(conn), time.Now), nil
	})
	h.verifier = sync.OnceValues(func() (*identity.Verifier, error) {
		keys, err := h.keys()
		if err != nil {
			return nil, err
		}
		return identity.NewVerifier(keys, time.Now), nil
	})
	return h
}

// memory answers the in-memory listener of a component of this process.
func (g *group) memory(component string) *bufconn.Listener {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pipe(component)
}

func (g *group) pipe(component string) *bufconn.Listener {
	if g.pipes[component] == nil {
		g.pipes[component] = bufconn.Listen(256 << 10)
	}
	return g.pipes[component]
}

// serveLocally notes the server of a component of this process; nil is none.
func (g *group) serveLocally(component string, s *rpc.Server) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.locals[component] = s
}

func (g *group) local(component string) *rpc.Server {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.locals[component]
}

// conn answers the connection from one component to another. Each caller has
// its own, since it carries the caller's credential.
func (g *group) conn(to, from string) (*grpc.ClientConn, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := [2]string{to, from}
	if c := g.conns[key]; c != nil {
		return c, nil
	}
	var target string
	var opts []grpc.DialOption
	switch {
	case slices.Contains(g.names, to):
		pipe := g.pipe(to)
		target = "passthrough:///" + to
		opts = append(opts, grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }))
	case ports[to] == "":
		return nil, fmt.Errorf("%s has no API to connect to (%s wants it)", to, from)
	default:
		var err error
		if target, opts, err = g.remote(to, from, addresses(to, g.Environ)); err != nil {
			return nil, err
		}
	}
	c, err := rpc.NewClient(target, g.token(from), opts...)
	if err != nil {
		return nil, fmt.Errorf("connect %s to %s: %w", from, to, err)
	}
	g.conns[key] = c
	if !slices.Contains(g.names, to) {
		g.watchConn(to, from, c)
	}
	return c, nil
}

func (g *group) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.conns {
		c.Close()
	}
	for _, p := range g.pipes {
		p.Close()
	}
}

// Select answers the components with those names, in the order of all.
func Select(all []Component, names []string) ([]Component, error) {
	var out []Component
	for _, c := range all {
		if slices.Contains(names, c.Name) {
			out = append(out, c)
		}
	}
	if len(out) == len(names) {
		return out, nil
	}
	var known []string
	for _, c := range all {
		known = append(known, c.Name)
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return nil, fmt.Errorf("no component %q; there are: %s", n, strings.Join(known, ", "))
		}
	}
	return nil, fmt.Errorf("a component is named twice: %s", strings.Join(names, " "))
}
