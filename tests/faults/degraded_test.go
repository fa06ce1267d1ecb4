package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/micro/platform/internal/porttest"
	"github.com/micro/platform/internal/telemetry"
	"github.com/micro/platform/tests/platform"
)

// degradedFor is how long what the edges stand on is away.
const degradedFor = 5 * time.Second

// TestEdgesGoOn takes auth, the registry and Postgres away, one at a time. Calls
// with a token that is known go on through both edges, not one fails, and the
// edges say what is away.
func TestEdgesGoOn(t *testing.T) {
	t.Parallel()
	ops := map[string]string{}
	for _, edge := range []string{"proxy", "gateway"} {
		port, err := porttest.Reserve()
		if err != nil {
			t.Fatal(err)
		}
		ops[edge] = fmt.Sprintf("127.0.0.1:%d", port)
	}
	s, d := site(t, platform.Config{TLS: true, Prepare: func(cmd *exec.Cmd) {
		if at := ops[cmd.Args[len(cmd.Args)-1]]; at != "" {
			cmd.Env = append(slices.Clip(cmd.Env), "MICRO_OPS_ADDRESS="+at)
		}
	}})
	registering, registered := context.WithCancel(t.Context())
	defer registered()
	go s.keepRegistered(registering, counterService(t))
	for _, tt := range []struct {
		what    string
		away    []string // as the edges name them
		kill    func() error
		restore func(context.Context) error
	}{
		{"auth", []string{"auth"}, func() error { s.Platform.Kill("auth"); return nil }, func(ctx context.Context) error { return s.Platform.Again(ctx, "auth") }},
		{"registry", []string{"registry"}, func() error { s.Platform.Kill("registry"); return nil }, func(ctx context.Context) error { return s.Platform.Again(ctx, "registry") }},
		{"postgres", []string{"auth", "registry"}, d.postgres.Kill, d.postgres.Up},
	} {
		calls := startCalls(t, s)
		if err := tt.kill(); err != nil {
			t.Fatal(err)
		}
		for edge, at := range ops {
			for _, name := range tt.away {
				awaitReport(t, at, func(r telemetry.Report) bool { return r.Ready && r.Degraded && isAway(r, name) }, "%s does not say that %s is away", edge, name)
			}
		}
		platform.Until(t.Context(), time.Now().Add(degradedFor))
		answered, failed := calls()
		t.Logf("without %s: %d calls answered, %d failed", tt.what, answered, len(failed))
		if len(failed) > 0 || answered < 100 {
			t.Errorf("without %s: %d calls answered, these failed: %v", tt.what, answered, failed)
		}
		if err := tt.restore(t.Context()); err != nil {
			t.Fatal(err)
		}
		for edge, at := range ops {
			awaitReport(t, at, func(r telemetry.Report) bool { return r.Ready && !r.Degraded }, "%s does not say that %s is back", edge, tt.what)
		}
	}
}

func isAway(r telemetry.Report, name string) bool {
	return slices.ContainsFunc(r.Dependencies, func(d telemetry.Dependency) bool { return d.Name == name && d.Away })
}

// awaitReport waits until an edge's /readyz is as wanted.
func awaitReport(t *testing.T, at string, want func(telemetry.Report) bool, format string, args ...any) {
	t.Helper()
	var r telemetry.Report
	for end := time.Now().Add(30 * time.Second); ; {
		rsp, err := http.Get("http://" + at + "/readyz")
		if err == nil {
			r = telemetry.Report{}
			err = json.NewDecoder(rsp.Body).Decode(&r)
			rsp.Body.Close()
		}
		if err == nil && want(r) {
			return
		}
		if !time.Now().Before(end) {
			t.Fatalf(format+": %+v, %v", append(args, r, err)...)
		}
		platform.Until(t.Context(), time.Now().Add(50*time.Millisecond))
	}
}

// startCalls calls a service through both edges, with one token, until end is
// called. It comes back after the first answers.
func startCalls(t *testing.T, s *Site) (end func() (answered int, failed []string)) {
	t.Helper()
	token, err := s.accessToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(s.Platform.Proxy, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Client{Transport: &http.Transport{}}
	x := call{"admin", "Counter.E0"}
	ways := map[string]func() outcome{
		"gRPC": func() outcome { return overGRPC(conn, x, token) },
		"HTTP": func() outcome { return overHTTP(web, s.Platform.API, x, token) },
	}
	ctx, stop := context.WithCancel(t.Context())
	var mu sync.Mutex
	var all sync.WaitGroup
	var answeredCalls int
	var failed []string
	for way, once := range ways {
		for first := time.Now(); once() != answered; platform.Until(ctx, time.Now().Add(tryAgain)) {
			if time.Since(first) > 30*time.Second {
				t.Fatalf("%s: the service is not found", way)
			}
		}
		all.Go(func() {
			for platform.Until(ctx, time.Now().Add(5*time.Millisecond)) {
				got := once()
				mu.Lock()
				if got == answered {
					answeredCalls++
				} else {
					failed = append(failed, fmt.Sprintf("%s: %v", way, got))
				}
				mu.Unlock()
			}
		})
	}
	return func() (int, []string) {
		stop()
		all.Wait()
		conn.Close()
		web.CloseIdleConnections()
		return answeredCalls, failed
	}
}
