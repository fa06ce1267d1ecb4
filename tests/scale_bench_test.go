package tests

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/local"
	registrypb "github.com/micro/platform/proto/registry"
	"github.com/micro/platform/proxy/edge/edgetest"
	"github.com/micro/platform/tests/platform"
)

const (
	manyNamespaces = 10_000
	eachServices   = 3
	// coldCalls is how many namespaces are called for the first time, by each
	// edge.
	coldCalls = 200
)

// BenchmarkManyNamespaces fills the platform with ten thousand namespaces, each
// with three services, rules and limits of its own, then starts each edge: how
// long that takes, what the edge takes of memory, and how long the first call of
// a namespace takes that the edge has not met, its API token included.
func BenchmarkManyNamespaces(b *testing.B) {
	dir := b.TempDir()
	servers, err := local.Start(b.Context(), local.Options{DataDir: dir + "/servers", User: "postgres", RedisServer: "redis-server"}, app.Platform{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { servers.Stop(context.Background()) })
	p, err := platform.Start(b.Context(), platform.Config{
		Micro: micro, Dir: dir, Apart: true, Servers: &servers.Platform,
		Components: []string{"auth", "registry", "namespaces", "usage", "audit", "proxy", "gateway"},
		Env:        []string{"MICRO_PROXY_CONTAINER_ADDRESS=none"},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { p.Stop() })
	p.Stop()
	var services []*edgetest.Service
	for range 2 * coldCalls {
		services = append(services, edgetest.NewService(b, "echo"))
	}
	fillNamespaces(b, servers.Platform.PostgresURL.Reveal(), services)
	if err := p.Restart(b.Context()); err != nil {
		b.Fatal(err)
	}
	conn, err := grpc.NewClient(p.Proxy, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	edges := []struct {
		name string
		call func(namespace int) error
	}{
		{"proxy", func(n int) error {
			ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(b.Context(), "authorization", "Bearer "+fillToken(n)), settle)
			defer cancel()
			var out []byte
			return conn.Invoke(ctx, "/echo.Echo/Call", []byte("{}"), &out, edgetest.Codec(), grpc.WaitForReady(true))
		}},
		{"gateway", func(n int) error { return post("http://"+p.API+"/echo/Echo/Call", fillToken(n)) }},
	}
	for b.Loop() {
		for i, edge := range edges {
			p.Kill(edge.name)
			began := time.Now()
			if err := p.Again(b.Context(), edge.name); err != nil {
				b.Fatal(err)
			}
			for edge.call(i*coldCalls) != nil { // also warms the way there
				if time.Since(began) > 2*settle {
					b.Fatal(edge.name, edge.call(i*coldCalls))
				}
			}
			b.ReportMetric(time.Since(began).Seconds(), "s/start-"+edge.name)
			var took []time.Duration
			for n := i*coldCalls + 1; n < (i+1)*coldCalls; n++ {
				began := time.Now()
				if err := edge.call(n); err != nil {
					b.Fatal(edge.name, n, err)
				}
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(took[len(took)/2].Seconds()*1000, "ms/cold-p50-"+edge.name)
			b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "ms/cold-p99-"+edge.name)
			b.ReportMetric(memory(b, p.Processes()[edge.name]), "MB/"+edge.name)
		}
	}
}

// fillToken is the API token of a namespace.
func fillToken(n int) string { return fmt.Sprintf("mtk_%043d", n) }

// fillNamespaces writes into Postgres what people would have made. The first
// namespaces' service "echo" runs, each on an address of its own; the others are
// registered at addresses where nobody is.
func fillNamespaces(b *testing.B, url string, running []*edgetest.Service) {
	b.Helper()
	ctx := b.Context()
	db, err := pgx.Connect(ctx, url)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close(ctx)
	// The endpoints that a service of Micro registers, with their fields.
	endpoints, err := proto.Marshal(&registrypb.Service{Endpoints: running[0].Entry().GetEndpoints()})
	if err != nil {
		b.Fatal(err)
	}
	addresses := make([]string, len(running))
	for i, s := range running {
		addresses[i] = s.Address
	}
	for _, q := range []struct {
		sql  string
		args []any
	}{
		{`INSERT INTO namespaces.namespaces (namespace, owner, mailbox, active_at, plan, limits)
			SELECT 'fill-' || n, 'owner' || n || '@example.com', 'owner' || n || '@example.com', now(), 'pro', '{"members": 20, "account_rate": 100000}'
			FROM generate_series(0, $1::int - 1) n`, []any{manyNamespaces}},
		{`INSERT INTO auth.accounts (namespace, id, type, name, scopes, secret)
			SELECT 'fill-' || n, 'owner' || n || '@example.com', 'user', 'owner' || n || '@example.com', '{admin}', 'sha256:'
			FROM generate_series(0, $1::int - 1) n`, []any{manyNamespaces}},
		{`INSERT INTO auth.api_tokens (namespace, id, account, name, hash, grants)
			SELECT 'fill-' || n, 'token', 'owner' || n || '@example.com', 'token', sha256(('mtk_' || lpad(n::text, 43, '0'))::bytea), '{*:*:write}'
			FROM generate_series(0, $1::int - 1) n`, []any{manyNamespaces}},
		{`INSERT INTO auth.rules (namespace, id, scope, type, name, endpoint, access, priority)
			SELECT 'fill-' || n, 'rule-' || r, '*', 'service', CASE r WHEN 1 THEN 'echo' ELSE 'service-' || r END, '*', 1, r
			FROM generate_series(0, $1::int - 1) n, generate_series(1, $2::int) r`, []any{manyNamespaces, eachServices}},
		{`INSERT INTO registry.versions (namespace, service, version, endpoints)
			SELECT 'fill-' || n, CASE s WHEN 0 THEN 'echo' ELSE 'service-' || s END, 'latest', $3::bytea
			FROM generate_series(0, $1::int - 1) n, generate_series(0, $2::int - 1) s`, []any{manyNamespaces, eachServices, endpoints}},
		{`INSERT INTO registry.nodes (namespace, service, version, id, address, account, digest)
			SELECT 'fill-' || n, CASE s WHEN 0 THEN 'echo' ELSE 'service-' || s END, 'latest', 'node-' || n || '-' || s,
				CASE WHEN s = 0 AND n < cardinality($3::text[]) THEN ($3::text[])[n + 1] ELSE '10.0.0.1:' || 1024 + n END, 'owner', ''
			FROM generate_series(0, $1::int - 1) n, generate_series(0, $2::int - 1) s`, []any{manyNamespaces, eachServices, addresses}},
		{`VACUUM ANALYZE`, nil}, // rows that have been there for long
	} {
		if _, err := db.Exec(ctx, q.sql, q.args...); err != nil {
			b.Fatal(err)
		}
	}
}

func post(url, token string) error {
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader("{}")) //nolint:noctx // a benchmark
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer rsp.Body.Close()
	if rsp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", rsp.Status)
	}
	return nil
}

// memory is what a process holds, in megabytes.
func memory(b *testing.B, pid int) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				b.Fatal(err)
			}
			return float64(kb) / 1024
		}
	}
	b.Fatal("no VmRSS")
	return 0
}
