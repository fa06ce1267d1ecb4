package proxy_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/internal/app"
	namespacespb "github.com/micro/platform/proto/namespaces"
	"github.com/micro/platform/proxy"
	"github.com/micro/platform/proxy/proxytest"
)

// BenchmarkAdmit is what deciding on a call costs once the token and the route
// are known, with limits of namespace and account that are not met.
func BenchmarkAdmit(b *testing.B) {
	var edge *proxy.Edge
	p := proxytest.New(b)
	p.Register("acme", proxytest.NewService(b, "echo").Entry())
	p.Run(b, nil, app.New("edge", func(_ context.Context, h *app.Host, _ struct{}) (err error) {
		if edge, err = proxy.NewEdge(h, proxy.EdgeOptions{InFlight: 1000}); err == nil {
			edge.Watch(h)
		}
		return err
	}))
	r := proxy.Request{Method: "/echo.Echo/Call", Metadata: metadata.Pairs("authorization", "Bearer "+p.User(b, "acme"), "x-content-type", "application/json", "timeout", "10000000000")}
	const plenty = 100_000_000
	p.Tenant(&namespacespb.Tenant{Namespace: "acme", Plan: "pro", Limits: map[string]int64{"rate": plenty, "burst": plenty, "account_rate": plenty}})
	for end := time.Now().Add(settle); ; {
		c, err := edge.Admit(b.Context(), r)
		c.Close()
		if err == nil {
			break
		}
		if time.Now().After(end) {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		c, err := edge.Admit(b.Context(), r)
		if err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}

// BenchmarkForward is a call through the gRPC edge.
func BenchmarkForward(b *testing.B) {
	e := start(b)
	e.Register("acme", proxytest.NewService(b, "echo").Entry())
	user := bearer(e.User(b, "acme"))
	for b.Loop() {
		if _, err := e.call("/echo.Echo/Call", `{"name":"Jane"}`, user...); err != nil {
			b.Fatal(err)
		}
	}
}
