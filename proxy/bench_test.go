package proxy_test

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/framework/errors"
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

// BenchmarkOverload is five times as many callers as a namespace may have calls
// open: how much of what it does at its limit it still does then, and how soon
// the others hear that it is too much.
func BenchmarkOverload(b *testing.B) {
	const limit = 16
	p := proxytest.New(b)
	address := freeAddress(b)
	p.Run(b, map[string]string{"MICRO_PROXY_ADDRESS": address, "MICRO_PROXY_CONTAINER_ADDRESS": "none", "MICRO_PROXY_IN_FLIGHT": strconv.Itoa(limit)}, proxy.Component)
	e := &edge{p, b, dial(b, address)}
	p.Register("acme", proxytest.NewService(b, "echo").Entry())
	user := bearer(p.User(b, "acme"))
	e.until(codes.OK, "/echo.Echo/Call", user...)
	for b.Loop() {
		knee, _ := e.load(limit, user)
		good, refused := e.load(5*limit, user)
		b.ReportMetric(knee, "calls/s-knee")
		b.ReportMetric(100*good/knee, "%-goodput")
		b.ReportMetric(refused.Seconds()*1000, "ms/refusal")
	}
}

// load has callers call for a while, each the next time when it has its answer,
// or when it was told to come again. It answers the good calls a second, and how
// long a refusal takes at the median.
func (e *edge) load(callers int, md []string) (good float64, refused time.Duration) {
	const during = 3 * time.Second
	var mu sync.Mutex
	var calls int
	var refusals []time.Duration
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for end := time.Now().Add(during); time.Now().Before(end); {
				began := time.Now()
				_, err := e.call("/echo.Echo/Call", "{}", md...)
				took := time.Since(began)
				mu.Lock()
				switch errors.Code(err) {
				case codes.OK:
					calls++
				case codes.ResourceExhausted:
					refusals = append(refusals, took)
				default:
					e.t.Error(err)
				}
				mu.Unlock()
				if err != nil {
					<-time.After(time.Second) // as Retry-After says
				}
			}
		})
	}
	wg.Wait()
	slices.Sort(refusals)
	if len(refusals) > 0 {
		refused = refusals[len(refusals)/2]
	}
	return float64(calls) / during.Seconds(), refused
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
