// Package imagestest is what tests of images share: HTTPS between components.
package imagestest

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/micro/platform/internal/certs"
)

// Host is what clients call the registry.
const Host = "images.micro.internal"

// Serve serves the registry as the component images, and answers how the
// components that are named reach it, each with its certificate.
func Serve(t testing.TB, registry http.Handler, components ...string) map[string]*http.Transport {
	t.Helper()
	authority := certs.Open(t.TempDir())
	if err := authority.Init(); err != nil {
		t.Fatal(err)
	}
	keeper := func(component string) *certs.Keeper {
		if _, err := authority.Issue(component, nil, time.Hour); err != nil {
			t.Fatal(err)
		}
		k, err := certs.NewKeeper(component, certs.In(authority.Dir(), component), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	s := httptest.NewUnstartedServer(registry)
	s.TLS = keeper("images").Config()
	s.StartTLS()
	t.Cleanup(s.Close)
	ways := map[string]*http.Transport{}
	for _, c := range components {
		way := &http.Transport{TLSClientConfig: keeper(c).To("images"), DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, s.Listener.Addr().String())
		}}
		t.Cleanup(way.CloseIdleConnections)
		ways[c] = way
	}
	return ways
}
