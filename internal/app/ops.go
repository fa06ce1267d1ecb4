package app

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/micro/platform/internal/telemetry"
)

// readiness is what a component's health service calls the readiness of its
// whole process. What it is without a name says where calls should go, and does
// not depend on others.
const readiness = "ready"

// operate serves operators on MICRO_OPS_ADDRESS until stop is called, and keeps
// the health of the process up to date.
func (g *group) operate(ctx context.Context) (stop func(), err error) {
	at := g.Platform.OpsAddress
	if at == "" && !g.Apart {
		return func() {}, nil
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	looked := make(chan struct{})
	go func() { defer close(looked); g.health.Run(ctx) }() //nolint:errcheck // it has none
	rest := func() { cancel(); <-looked }
	if at == "" {
		return rest, nil
	}
	l, err := g.listenOps(at)
	if err != nil {
		rest()
		return nil, err
	}
	s := telemetry.NewServer(g.health, g.metrics)
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			g.Log.Error("operators are not served any more", "error", err)
		}
	}()
	return func() { s.Close(); <-served; rest() }, nil
}

// listenOps listens for operators: on loopback in the clear, anywhere else for
// those with a certificate.
func (g *group) listenOps(at string) (net.Listener, error) {
	if err := g.checkAddress("MICRO_OPS_ADDRESS", at); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		return nil, fmt.Errorf("cannot serve operators on %s (MICRO_OPS_ADDRESS): %w", at, err)
	}
	if loopback(at) {
		return l, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	k, err := g.keeper(g.names[0])
	if err != nil {
		l.Close()
		return nil, err
	}
	return tls.NewListener(l, k.Config()), nil
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && net.ParseIP(host).IsLoopback()
}

// Ready asks the process of a component on this host how it is, at
// MICRO_OPS_ADDRESS. Beyond loopback it shows the component's certificate, and
// wants to see it.
func Ready(ctx context.Context, p Platform, component string) (telemetry.Report, error) {
	var r telemetry.Report
	at, scheme, transport := p.OpsAddress, "http", &http.Transport{DisableKeepAlives: true}
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		return r, fmt.Errorf("MICRO_OPS_ADDRESS has to be the process's own: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		at = net.JoinHostPort("localhost", port)
	}
	if !loopback(p.OpsAddress) {
		if component == "" {
			return r, fmt.Errorf("MICRO_OPS_ADDRESS is %s: beyond loopback it takes the certificate of a component", p.OpsAddress)
		}
		k, err := p.keeper(component, slog.New(slog.DiscardHandler))
		if err != nil {
			return r, err
		}
		scheme, transport.TLSClientConfig = "https", k.Own()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+at+"/readyz", http.NoBody)
	if err != nil {
		return r, err
	}
	rsp, err := transport.RoundTrip(req)
	if err != nil {
		return r, err
	}
	defer rsp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(rsp.Body, maxReport)).Decode(&r); err != nil {
		return r, fmt.Errorf("%s is answered by something that is not Micro: %w", at, err)
	}
	return r, nil
}

// maxReport bounds what is read of a report.
const maxReport = 1 << 20

// watchConn has the health tell whether a component in other processes is there,
// and says itself that it is ready.
func (g *group) watchConn(to, from string, conn *grpc.ClientConn) {
	g.health.Watch(from, to, false, func(ctx context.Context) error {
		rsp, err := g.clocks.check(ctx, conn)
		switch {
		case status.Code(err) == codes.NotFound: // it has not looked yet
			return nil
		case err != nil:
			return err
		case rsp.GetStatus() != healthpb.HealthCheckResponse_SERVING:
			return fmt.Errorf("%s says that it is not ready", to)
		}
		return nil
	})
}

// tellReadiness puts the readiness of the process into a component's health.
func (g *group) tellReadiness(set func(service string, status healthpb.HealthCheckResponse_ServingStatus)) {
	g.health.Tell(func(ready bool) {
		if ready {
			set(readiness, healthpb.HealthCheckResponse_SERVING)
		} else {
			set(readiness, healthpb.HealthCheckResponse_NOT_SERVING)
		}
	})
}

// Watch adds what the component stands on, without which it can do less. check is
// called again and again; it is bounded in time.
func (h *Host) Watch(name string, check func(ctx context.Context) error) {
	h.group.health.Watch(h.Name, name, false, check)
}

// Gate adds a reason for which the component is not ready. check must not wait.
func (h *Host) Gate(check func() error) { h.group.health.Gate(h.Name, check) }

// Gauge adds a number to the component's metrics, asked for when it is read.
func (h *Host) Gauge(name, help string, value func() float64) {
	h.group.metrics.Gauge(h.Name, name, help, value)
}

// Queue adds work of the component that waits to its metrics: how much, and for
// how long the oldest.
func (h *Host) Queue(name string, ask func(ctx context.Context) (waiting int64, oldest time.Duration, err error)) {
	h.group.metrics.Queue(h.Name, name, ask)
}

// Disk adds the disk that the component keeps something on to its metrics.
func (h *Host) Disk(name, dir string) {
	h.DiskOf(name, func(context.Context) (string, error) { return dir, nil })
}

// DiskOf is Disk for what has to be asked for its directory.
func (h *Host) DiskOf(name string, dir func(ctx context.Context) (string, error)) {
	h.group.metrics.Disk(h.Name, name, dir)
}

// Called notes a call that went through the component, an edge, in its metrics.
func (h *Host) Called(code string, took time.Duration) { h.group.metrics.Edge(h.Name, code, took) }
