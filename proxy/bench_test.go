package proxy_test

import (
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/proxy"
	"github.com/micro/platform/proxy/edge/edgetest"
)

// BenchmarkOverload is five times as many callers as a namespace may have calls
// open: how much of what it does at its limit it still does then, and how soon
// the others hear that it is too much.
func BenchmarkOverload(b *testing.B) {
	const limit = 16
	p := edgetest.New(b)
	address := freeAddress(b)
	p.Run(b, map[string]string{"MICRO_PROXY_ADDRESS": address, "MICRO_PROXY_CONTAINER_ADDRESS": "none", "MICRO_PROXY_IN_FLIGHT": strconv.Itoa(limit)}, proxy.Component)
	e := &edge{p, b, dial(b, address)}
	p.Register("acme", edgetest.NewService(b, "echo").Entry())
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
	e.Register("acme", edgetest.NewService(b, "echo").Entry())
	user := bearer(e.User(b, "acme"))
	for b.Loop() {
		if _, err := e.call("/echo.Echo/Call", `{"name":"Jane"}`, user...); err != nil {
			b.Fatal(err)
		}
	}
}
