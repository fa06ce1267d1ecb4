package app

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/micro/platform/internal/certs"
	"github.com/micro/platform/internal/porttest"
	"github.com/micro/platform/internal/telemetry"
)

// ops starts a component that stands on a registry which is not there, with
// operators served on a host's address, and answers how they read.
func ops(t *testing.T, host, dir string) (p Platform, get func(client *http.Client, path string) (int, string)) {
	t.Helper()
	var ports [3]int
	for i := range ports {
		port, err := porttest.Reserve()
		if err != nil {
			t.Fatal(err)
		}
		ports[i] = port
	}
	c := New("auth", func(_ context.Context, h *Host, _ options) error {
		if _, err := h.Conn("registry"); err != nil {
			return err
		}
		for range 2 { // one disk, however often it is asked for
			if _, err := h.StateDir(); err != nil {
				return err
			}
		}
		s, err := h.Server()
		if err != nil {
			return err
		}
		return h.Serve(s)
	})
	p = Platform{ClusterSecret: "a cluster secret that only tests use", TLSDir: dir, StateDir: t.TempDir(), OpsAddress: fmt.Sprintf("%s:%d", host, ports[2])}
	start(t, Config{Components: []Component{c}, Apart: true, Log: slog.New(slog.DiscardHandler), Platform: p,
		Environ: map[string]string{"MICRO_REGISTRY_ADDRESS": fmt.Sprintf("127.0.0.1:%d", ports[0]), "MICRO_AUTH_ADDRESS": fmt.Sprintf("127.0.0.1:%d", ports[1])}})
	scheme := "http"
	if host != "127.0.0.1" {
		scheme = "https"
	}
	return p, func(client *http.Client, path string) (int, string) {
		rsp, err := client.Get(fmt.Sprintf("%s://%s:%d%s", scheme, host, ports[2], path))
		if err != nil {
			return 0, err.Error()
		}
		defer rsp.Body.Close()
		body, err := io.ReadAll(rsp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return rsp.StatusCode, string(body)
	}
}

// TestOps shows what operators read about a process that misses another.
func TestOps(t *testing.T) {
	t.Parallel()
	p, get := ops(t, "127.0.0.1", "")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if code, body := get(client, "/healthz"); code != http.StatusOK || body != "ok\n" {
		t.Errorf("/healthz = %d %q", code, body)
	}
	var r telemetry.Report
	var code int
	registry := func(d telemetry.Dependency) bool { return d.Name == "registry" && d.Away }
	for end := time.Now().Add(10 * time.Second); !slices.ContainsFunc(r.Dependencies, registry); {
		if time.Now().After(end) {
			t.Fatalf("/readyz = %d %+v, want that the registry is away", code, r)
		}
		var body string
		if code, body = get(client, "/readyz"); json.Unmarshal([]byte(body), &r) != nil {
			t.Fatalf("/readyz = %s", body)
		}
	}
	d := r.Dependencies[len(r.Dependencies)-1]
	if code != http.StatusOK || !r.Ready || d.Name != "registry" || !d.Away || d.Cause == "" || time.Since(d.Since) > time.Minute {
		t.Errorf("/readyz = %d %+v", code, r)
	}
	if r, err := Ready(t.Context(), p, ""); err != nil || !r.Ready || !r.Degraded {
		t.Errorf("Ready = %+v, %v", r, err)
	}
	code, body := get(client, "/metrics")
	for _, want := range []string{"micro_ready 1", `micro_dependency_up{component="auth",dependency="registry"} 0`, `micro_disk_size_bytes{component="auth",disk="state"}`, "go_goroutines"} {
		if code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("/metrics = %d, without %s", code, want)
		}
	}
}

// TestOpsBeyondLoopback shows that there operators need a certificate.
func TestOpsBeyondLoopback(t *testing.T) {
	t.Parallel()
	host := beyondLoopback(t)
	dir := certificates(t, []string{host}, "auth", certs.Reader)
	p, get := ops(t, host, dir)
	k, err := certs.NewKeeper(certs.Reader, certs.In(dir, certs.Reader), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	shown, err := k.Config().GetConfigForClient(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"with": http.StatusOK, "without": 0} {
		cfg := &tls.Config{RootCAs: shown.ClientCAs}
		if name == "with" {
			cfg.Certificates = shown.Certificates
		}
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: cfg}}
		if code, body := get(client, "/healthz"); code != want {
			t.Errorf("%s a certificate: %d %s", name, code, body)
		}
		if code, body := get(client, "/metrics"); code == http.StatusOK && !strings.Contains(body, `micro_certificate_expires_timestamp_seconds{component="auth"}`) {
			t.Error("/metrics does not say when the certificate ends")
		}
	}
	if r, err := Ready(t.Context(), p, "auth"); err != nil || !r.Ready {
		t.Errorf("Ready = %+v, %v", r, err)
	}
	if _, err := Ready(t.Context(), p, ""); err == nil {
		t.Error("Ready works without a component's certificate")
	}
}

// beyondLoopback answers another address of this host.
func beyondLoopback(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	t.Fatal("the host has no address but loopback")
	return ""
}
