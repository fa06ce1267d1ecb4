package registry

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/internal/pgtest"
	registrypb "github.com/micro/platform/proto/registry"
)

// BenchmarkSnapshot is what an edge waits for when it starts beside 10,000
// namespaces with three services each.
func BenchmarkSnapshot(b *testing.B) {
	s := New(pgtest.New(b, "registry"), fakeRuntime{}, slog.New(slog.DiscardHandler), Options{Sweep: time.Second, MaxVersions: 20})
	described, err := proto.Marshal(&registrypb.Service{Endpoints: []*registrypb.Endpoint{{Name: "Greeter.Call"}, {Name: "Greeter.Stream"}}})
	if err != nil {
		b.Fatal(err)
	}
	const services = 30_000
	for _, q := range []string{
		`INSERT INTO registry.versions (namespace, service, version, endpoints)
		 SELECT 'ns-' || n / 3, 'service-' || n % 3, 'latest', $1 FROM generate_series(0, $2 - 1) n`,
		`INSERT INTO registry.nodes (namespace, service, version, id, address, account, digest, expires_at)
		 SELECT 'ns-' || n / 3, 'service-' || n % 3, 'latest', 'node', '10.0.0.1:8080', 'x', $1, now() + interval '1 hour' FROM generate_series(0, $2 - 1) n`,
	} {
		if _, err := s.db.pool.Exec(b.Context(), q, described, services); err != nil {
			b.Fatal(err)
		}
	}
	w := &watcher{namespace: everything}
	for b.Loop() {
		st := &stream{ctx: asComponent(b), results: make(chan *registrypb.Result, services+1)}
		if err := s.snapshot(b.Context(), w, st); err != nil || len(st.results) != services+1 {
			b.Fatalf("%d results, %v", len(st.results), err)
		}
	}
}

// BenchmarkRenew is a heartbeat, of which that many services send 1,000 a
// second.
func BenchmarkRenew(b *testing.B) {
	s := New(pgtest.New(b, "registry"), fakeRuntime{}, slog.New(slog.DiscardHandler), Options{Sweep: time.Second, MaxVersions: 20})
	ctx := as(b, "a", "x")
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := s.Register(context.WithoutCancel(ctx), greeter("n1")); err != nil {
				b.Error(err)
			}
		}
	})
}
