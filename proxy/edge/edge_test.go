package edge_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/internal/app"
	namespacespb "github.com/micro/platform/proto/namespaces"
	"github.com/micro/platform/proxy/edge"
	"github.com/micro/platform/proxy/edge/edgetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// BenchmarkAdmit is what deciding on a call costs once the token and the route
// are known, with limits of namespace and account that are not met.
func BenchmarkAdmit(b *testing.B) {
	var e *edge.Edge
	p := edgetest.New(b)
	p.Register("acme", edgetest.NewService(b, "echo").Entry())
	p.Run(b, nil, app.New("edge", func(_ context.Context, h *app.Host, _ struct{}) (err error) {
		if e, err = edge.New(h, edge.Options{InFlight: 1000}); err == nil {
			e.Watch(h)
		}
		return err
	}))
	r := edge.Request{Method: "/echo.Echo/Call", Metadata: metadata.Pairs("authorization", "Bearer "+p.User(b, "acme"), "x-content-type", "application/json", "timeout", "10000000000")}
	const plenty = 100_000_000
	p.Tenant(&namespacespb.Tenant{Namespace: "acme", Plan: "pro", Limits: map[string]int64{"rate": plenty, "burst": plenty, "account_rate": plenty}})
	for end := time.Now().Add(10 * time.Second); ; {
		c, err := e.Admit(b.Context(), r)
		c.Close()
		if err == nil {
			break
		}
		if time.Now().After(end) {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		c, err := e.Admit(b.Context(), r)
		if err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}
