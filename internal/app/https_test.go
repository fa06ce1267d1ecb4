package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/micro/platform/internal/certs"
	"github.com/micro/platform/internal/porttest"
)

// TestHTTPS shows that a component is found at the address where it is, and knows
// who asks; and that neither side starts without certificates.
func TestHTTPS(t *testing.T) {
	t.Parallel()
	dir := certificates(t, nil, "registry", "network")
	port, err := porttest.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	nobody, err := porttest.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	serving := New("registry", func(_ context.Context, h *Host, _ options) error {
		return h.ServeHTTPS(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, certs.Shown(r)) }))
	})
	answer := make(chan string, 1)
	asking := New("network", func(_ context.Context, h *Host, _ options) error {
		way, err := h.Transport("registry")
		if err != nil {
			return err
		}
		h.Go("ask", func(ctx context.Context) error {
			answer <- ask(ctx, way)
			return nil
		})
		return nil
	})
	apart := func(tls string, c Component) Config {
		return Config{Components: []Component{c}, Apart: true, Log: slog.New(slog.DiscardHandler),
			Environ: map[string]string{
				"MICRO_REGISTRY_ADDRESS": fmt.Sprintf("127.0.0.1:%d,127.0.0.1:%d", nobody, port),
				"MICRO_REGISTRY_LISTEN":  fmt.Sprintf("127.0.0.1:%d", port),
			},
			Platform: Platform{ClusterSecret: "a cluster secret that only tests use", TLSDir: tls}}
	}
	start(t, apart(dir, serving))
	for range 4 { // whichever address comes first
		start(t, apart(dir, asking))
		if got := <-answer; got != "network" {
			t.Errorf("the answer is %q", got)
		}
	}
	for _, c := range []Component{serving, asking} {
		if err := Run(t.Context(), apart("", c)); err == nil {
			t.Errorf("%s started without certificates", c.Name)
		}
	}
}

func ask(ctx context.Context, way http.RoundTripper) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+certs.ServerName("registry")+"/", nil)
	if err != nil {
		return err.Error()
	}
	rsp, err := way.RoundTrip(req)
	if err != nil {
		return err.Error()
	}
	defer rsp.Body.Close()
	b, err := io.ReadAll(rsp.Body)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
