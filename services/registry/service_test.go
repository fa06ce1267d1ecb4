package registry

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pgtest"
	registrypb "github.com/micro/platform/proto/registry"
	runtimepb "github.com/micro/platform/proto/runtime"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// as is a context with a program's account of a namespace, which is its admin.
func as(t testing.TB, namespace, account string) context.Context {
	return identity.With(t.Context(), identity.Caller{ID: account, Type: identity.Service, Namespace: namespace, Scopes: []string{"service"}})
}

// deployed is a context with the account of a revision of a service.
func deployed(t testing.TB, namespace, account, service string) context.Context {
	t.Helper()
	c := identity.Caller{ID: account, Type: identity.Service, Namespace: namespace, Scopes: []string{"service"},
		Metadata: map[string]string{"service": service, "version": "latest", "revision": "7"}}
	ctx, err := identity.Admit(identity.With(t.Context(), c), c, "registry", "Registry.Register")
	if err != nil {
		t.Fatal(err)
	}
	return ctx
}

func asComponent(t testing.TB) context.Context {
	return identity.With(t.Context(), identity.Caller{ID: "runtime", Type: identity.Component, Namespace: identity.Platform})
}

// from adds where an edge saw the call come from.
func from(ctx context.Context, address string) context.Context {
	return metadata.NewIncomingContext(ctx, metadata.Pairs("micro-client-address", address))
}

// greeter is a registration as the framework sends it.
func greeter(node string, change ...func(*registrypb.Service)) *registrypb.Service {
	s := &registrypb.Service{
		Name: "greeter", Version: "latest",
		Endpoints: []*registrypb.Endpoint{{Name: "Greeter.Call"}},
		Nodes:     []*registrypb.Node{{Id: node, Address: "10.1.2.3:8080", Metadata: map[string]string{"server": "grpc"}}},
		Options:   &registrypb.Options{Ttl: 90},
	}
	for _, c := range change {
		c(s)
	}
	return s
}

// setup answers a service whose hub listens; it sweeps when told.
func setup(t *testing.T) *Service {
	t.Helper()
	return start(t, pgtest.New(t, "registry"))
}

func start(t *testing.T, pool *pgxpool.Pool) *Service {
	t.Helper()
	s := New(pool, fakeRuntime{}, slog.New(slog.DiscardHandler), Options{Sweep: time.Second, MaxVersions: 20})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.hub.run(ctx) }() //nolint:errcheck // it only ends when told
	t.Cleanup(func() { cancel(); <-done })
	return s
}

// fakeRuntime has deployed a service called invoices to every namespace.
type fakeRuntime struct{ runtimepb.RuntimeClient }

func (fakeRuntime) Read(ctx context.Context, req *runtimepb.ReadRequest, _ ...grpc.CallOption) (*runtimepb.ReadResponse, error) {
	rsp := &runtimepb.ReadResponse{}
	if name := req.GetOptions().GetService(); name == "invoices" && identity.CallsAsComponent(ctx) {
		rsp.Services = append(rsp.Services, &runtimepb.Service{Name: name})
	}
	return rsp, nil
}

func register(t *testing.T, s *Service, ctx context.Context, req *registrypb.Service) {
	t.Helper()
	if _, err := s.Register(ctx, req); err != nil {
		t.Fatal(err)
	}
}

func nodes(t *testing.T, s *Service, ctx context.Context, name string) []*registrypb.Node {
	t.Helper()
	rsp, err := s.GetService(ctx, &registrypb.GetRequest{Service: name})
	if errors.Code(err) == codes.NotFound {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var all []*registrypb.Node
	for _, v := range rsp.GetServices() {
		all = append(all, v.GetNodes()...)
	}
	return all
}

// expire makes all nodes' time be up.
func expire(t *testing.T, s *Service) {
	t.Helper()
	if _, err := s.db.pool.Exec(t.Context(), "UPDATE registry.nodes SET expires_at = now() - interval '1 second'"); err != nil {
		t.Fatal(err)
	}
}

func TestRegister(t *testing.T) {
	t.Parallel()
	s := setup(t)
	a := deployed(t, "a", "greeter-1", "greeter")
	register(t, s, a, greeter("n1"))
	register(t, s, a, greeter("n1"))
	register(t, s, a, greeter("n2", func(r *registrypb.Service) { r.Endpoints[0].Name = "Greeter.Hello" }))
	rsp, err := s.GetService(a, &registrypb.GetRequest{Service: "greeter"})
	if err != nil {
		t.Fatal(err)
	}
	v := rsp.GetServices()[0]
	if len(rsp.GetServices()) != 1 || len(v.GetNodes()) != 2 || v.GetEndpoints()[0].GetName() != "Greeter.Hello" || v.GetMetadata()["domain"] != "a" {
		t.Fatalf("GetService = %v, want two nodes, the latest endpoints, the domain", rsp)
	}
	n := v.GetNodes()[0]
	if n.GetAddress() != "10.1.2.3:8080" || n.GetMetadata()["account"] != "greeter-1" || n.GetMetadata()["revision"] != "7" {
		t.Errorf("node = %v, want its account and revision", n)
	}
	if _, err := s.Deregister(a, &registrypb.Service{Name: "greeter", Version: "latest", Nodes: []*registrypb.Node{{Id: "n1"}, {Id: "unknown"}}}); err != nil {
		t.Fatal(err)
	}
	if got := nodes(t, s, a, "greeter"); len(got) != 1 || got[0].GetId() != "n2" {
		t.Errorf("nodes = %v, want n2", got)
	}
}

// TestNamespacesAreApart shows that no way leads to another's entries.
func TestNamespacesAreApart(t *testing.T) {
	t.Parallel()
	s := setup(t)
	register(t, s, as(t, "a", "x"), greeter("n1"))
	b := as(t, "b", "x")
	if got := nodes(t, s, b, "greeter"); len(got) != 0 {
		t.Errorf("b sees %v", got)
	}
	for _, domain := range []string{"a", "*", "A", "а"} {
		o := &registrypb.Options{Domain: domain}
		_, get := s.GetService(b, &registrypb.GetRequest{Service: "greeter", Options: o})
		_, list := s.ListServices(b, &registrypb.ListRequest{Options: o})
		_, reg := s.Register(b, greeter("n1", func(r *registrypb.Service) { r.Options = o }))
		_, der := s.Deregister(b, &registrypb.Service{Name: "greeter", Options: o})
		watch := s.Watch(&registrypb.WatchRequest{Options: o}, newStream(b))
		for name, err := range map[string]error{"GetService": get, "ListServices": list, "Register": reg, "Deregister": der, "Watch": watch} {
			if errors.Code(err) != codes.PermissionDenied {
				t.Errorf("%s in %q = %v, want PermissionDenied", name, domain, err)
			}
		}
	}
	if _, err := s.Deregister(b, &registrypb.Service{Name: "greeter", Version: "latest", Nodes: []*registrypb.Node{{Id: "n1"}}}); err != nil {
		t.Fatal(err)
	}
	if got := nodes(t, s, as(t, "a", "x"), "greeter"); len(got) != 1 {
		t.Errorf("a has %v, want its node", got)
	}
	if _, err := s.GetService(t.Context(), &registrypb.GetRequest{Service: "greeter"}); errors.Code(err) != codes.Unauthenticated {
		t.Errorf("anonymous GetService = %v", err)
	}
}

func TestRegistrationIsChecked(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for _, tt := range []struct {
		name   string
		change func(*registrypb.Service)
		want   codes.Code
	}{
		{"good", func(*registrypb.Service) {}, codes.OK},
		{"name of the platform", func(r *registrypb.Service) { r.Name = "auth" }, codes.PermissionDenied},
		{"name like a version", func(r *registrypb.Service) { r.Name = "v1" }, codes.PermissionDenied},
		{"upper case", func(r *registrypb.Service) { r.Name = "Greeter" }, codes.InvalidArgument},
		{"leading dot", func(r *registrypb.Service) { r.Name = ".greeter" }, codes.InvalidArgument},
		{"long name", func(r *registrypb.Service) { r.Name = strings.Repeat("a", 129) }, codes.InvalidArgument},
		{"long version", func(r *registrypb.Service) { r.Version = strings.Repeat("1", 65) }, codes.InvalidArgument},
		{"no version", func(r *registrypb.Service) { r.Version = "" }, codes.OK},
		{"no nodes", func(r *registrypb.Service) { r.Nodes = nil }, codes.InvalidArgument},
		{"too many nodes", func(r *registrypb.Service) { r.Nodes = many(maxNodes + 1) }, codes.InvalidArgument},
		{"node twice", func(r *registrypb.Service) { r.Nodes = append(r.Nodes, r.Nodes[0]) }, codes.InvalidArgument},
		{"zero byte in an id", func(r *registrypb.Service) { r.Nodes[0].Id = "a\x00" }, codes.InvalidArgument},
		{"zero byte in metadata", func(r *registrypb.Service) { r.Nodes[0].Metadata["k"] = "a\x00" }, codes.InvalidArgument},
		{"too much metadata", func(r *registrypb.Service) { r.Metadata = map[string]string{"k": strings.Repeat("v", maxPair)} }, codes.InvalidArgument},
		{"negative ttl", func(r *registrypb.Service) { r.Options.Ttl = -1 }, codes.InvalidArgument},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := s.Register(as(t, "a", "x"), greeter("n1", tt.change)); errors.Code(err) != tt.want {
				t.Errorf("Register = %v, want %v", err, tt.want)
			}
		})
	}
	member := identity.With(t.Context(), identity.Caller{ID: "jane", Type: identity.User, Namespace: "a"})
	if _, err := s.Register(member, greeter("n1")); errors.Code(err) != codes.PermissionDenied {
		t.Errorf("Register without scope = %v, want PermissionDenied", err)
	}
}

func many(n int) []*registrypb.Node {
	var all []*registrypb.Node
	for i := range n {
		all = append(all, &registrypb.Node{Id: fmt.Sprint(i), Address: "10.0.0.1:1"})
	}
	return all
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for _, tt := range []struct {
		namespace, address, observed string
		want                         string // "" is refused
	}{
		{"a", "10.1.2.3:8080", "", "10.1.2.3:8080"},
		{"a", "10.1.2.3:8080", "172.18.0.4", "172.18.0.4:8080"},
		{"a", "127.0.0.1:5432", "172.18.0.4", "172.18.0.4:5432"},
		{"a", "10.1.2.3:8080", "127.0.0.1", ""},
		{"a", "127.0.0.1:5432", "", ""},
		{"a", "[::ffff:127.0.0.1]:5432", "", ""},
		{"a", "[::1]:5432", "", ""},
		{"a", "0.0.0.0:80", "", ""},
		{"a", "169.254.169.254:80", "", ""},
		{"a", "[fd00:ec2::254]:80", "", ""},
		{"a", "[fe80::1%25eth0]:80", "", ""},
		{"a", "224.0.0.1:80", "", ""},
		{"a", "255.255.255.255:80", "", ""},
		{"a", "100.100.100.200:80", "", ""},
		{"a", "localhost:80", "", ""},
		{"a", "2130706433:80", "", ""},
		{"a", "10.1.2.3", "", ""},
		{"a", "10.1.2.3:0", "", ""},
		{"a", "10.1.2.3:65536", "", ""},
		{identity.Platform, "127.0.0.1:8080", "127.0.0.1", "127.0.0.1:8080"},
		{identity.Platform, "169.254.169.254:80", "127.0.0.1", ""},
		{identity.Platform, "10.0.0.1:80", "127.0.0.1", "10.0.0.1:80"},
	} {
		t.Run(tt.namespace+" "+tt.address+" from "+tt.observed, func(t *testing.T) {
			ctx := as(t, tt.namespace, "x")
			if tt.observed != "" {
				ctx = from(ctx, tt.observed)
			}
			_, err := s.Register(ctx, greeter("n1", func(r *registrypb.Service) { r.Nodes[0].Address = tt.address }))
			if tt.want == "" {
				if errors.Code(err) != codes.InvalidArgument {
					t.Errorf("Register = %v, want InvalidArgument", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := nodes(t, s, ctx, "greeter"); got[0].GetAddress() != tt.want {
				t.Errorf("address = %s, want %s", got[0].GetAddress(), tt.want)
			}
		})
	}
}

func TestPortInAFieldOfItsOwn(t *testing.T) {
	t.Parallel()
	n := &registrypb.Node{Id: "n", Address: "10.0.0.1", Port: 80}
	if err := settleAddress(n, trust{}); err != nil || n.GetAddress() != "10.0.0.1:80" {
		t.Errorf("settleAddress = %v, %v", n, err)
	}
}

func TestLifetime(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		asked     int64
		component bool
		want      int64
	}{{0, false, 90}, {0, true, 0}, {1, false, 5}, {90, false, 90}, {3600, true, 120}} {
		if got := lifetime(tt.asked, tt.component); got != tt.want {
			t.Errorf("lifetime(%d, %v) = %d, want %d", tt.asked, tt.component, got, tt.want)
		}
	}
}

// TestExpiredNodesAreGone shows that their end does not wait for the sweeper,
// and that the sweeper leaves nothing of them.
func TestExpiredNodesAreGone(t *testing.T) {
	t.Parallel()
	s := setup(t)
	a := as(t, "a", "x")
	register(t, s, a, greeter("n1"))
	expire(t, s)
	if got := nodes(t, s, a, "greeter"); got != nil {
		t.Errorf("nodes = %v, want none", got)
	}
	register(t, s, a, greeter("n2"))
	if err := s.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := nodes(t, s, a, "greeter"); len(got) != 1 || got[0].GetId() != "n2" {
		t.Errorf("nodes = %v, want n2", got)
	}
	expire(t, s)
	if err := s.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	var left int
	if err := s.db.pool.QueryRow(t.Context(), "SELECT count(*) FROM registry.versions").Scan(&left); err != nil || left != 0 {
		t.Errorf("%d versions are left (%v)", left, err)
	}
}

func TestNodeOfAnotherAccount(t *testing.T) {
	t.Parallel()
	s := setup(t)
	register(t, s, as(t, "a", "x"), greeter("n1"))
	if _, err := s.Register(as(t, "a", "y"), greeter("n1")); errors.Code(err) != codes.AlreadyExists {
		t.Errorf("Register = %v, want AlreadyExists", err)
	}
	expire(t, s)
	register(t, s, as(t, "a", "y"), greeter("n1"))
}

func TestEvict(t *testing.T) {
	t.Parallel()
	s := setup(t)
	old, next := as(t, "a", "greeter-1"), as(t, "a", "greeter-2")
	register(t, s, old, greeter("n1"))
	register(t, s, next, greeter("n2"))
	register(t, s, as(t, "b", "greeter-1"), greeter("n1"))
	req := &registrypb.NodesRequest{Domain: "a", Account: "greeter-1"}
	if rsp, err := s.List(asComponent(t), req); err != nil || len(rsp.GetServices()) != 1 || len(rsp.GetServices()[0].GetNodes()) != 1 {
		t.Errorf("List = %v, %v; want the one node of the account", rsp, err)
	}
	for range 2 {
		if _, err := s.Evict(asComponent(t), req); err != nil {
			t.Fatal(err)
		}
	}
	if got := nodes(t, s, old, "greeter"); len(got) != 1 || got[0].GetId() != "n2" {
		t.Errorf("nodes = %v, want n2", got)
	}
	if _, err := s.Register(old, greeter("n1")); errors.Code(err) != codes.FailedPrecondition {
		t.Errorf("Register after Evict = %v, want FailedPrecondition", err)
	}
	if got := nodes(t, s, as(t, "b", "x"), "greeter"); len(got) != 1 {
		t.Errorf("the same account of another namespace has %v", got)
	}
	if rsp, err := s.List(asComponent(t), req); err != nil || len(rsp.GetServices()) != 0 {
		t.Errorf("List = %v, %v; want nothing", rsp, err)
	}
	operator := identity.With(t.Context(), identity.Caller{ID: "admin", Type: identity.User, Namespace: identity.Platform, Scopes: []string{"admin"}})
	if _, err := s.Evict(operator, req); errors.Code(err) != codes.PermissionDenied {
		t.Errorf("Evict by an operator = %v, want PermissionDenied", err)
	}
}

// TestEndAgo: who has another clock than Postgres says how long ago a process ended.
func TestEndAgo(t *testing.T) {
	t.Parallel()
	s := setup(t)
	register(t, s, asComponent(t), greeter("n1", func(g *registrypb.Service) { g.Nodes[0].Address, g.Options.Domain = "10.201.0.2:8080", "a" }))
	<-time.After(5 * time.Millisecond)
	for _, tt := range []struct {
		ago  time.Duration
		left int
	}{{time.Hour, 1}, {time.Millisecond, 0}} {
		if _, err := s.End(asComponent(t), &registrypb.EndRequest{Domain: "a", Host: "10.201.0.2", Ago: tt.ago.Milliseconds()}); err != nil {
			t.Fatal(err)
		}
		if got := nodes(t, s, as(t, "a", "x"), "greeter"); len(got) != tt.left {
			t.Errorf("%v ago: nodes = %v, want %d", tt.ago, got, tt.left)
		}
	}
}

// TestEnd ends a process at an address that another one has got meanwhile.
func TestEnd(t *testing.T) {
	t.Parallel()
	s := setup(t)
	c := asComponent(t)
	at := func(namespace, id, address string) {
		register(t, s, c, greeter(id, func(g *registrypb.Service) { g.Nodes[0].Address, g.Options.Domain = address, namespace }))
	}
	at("a", "before", "10.201.0.2:8080")
	at("a", "beside", "10.201.0.20:8080")
	at("b", "before", "10.201.0.2:8080")
	<-time.After(5 * time.Millisecond) // it is told in whole ones
	ended := time.Now().UnixMilli()
	<-time.After(5 * time.Millisecond)
	at("a", "since", "10.201.0.2:8080")
	for range 2 {
		if _, err := s.End(c, &registrypb.EndRequest{Domain: "a", Host: "10.201.0.2", At: ended}); err != nil {
			t.Fatal(err)
		}
	}
	var left []string
	for _, n := range nodes(t, s, as(t, "a", "x"), "greeter") {
		left = append(left, n.GetId())
	}
	if !slices.Equal(left, []string{"beside", "since"}) {
		t.Errorf("nodes = %v, want beside and since", left)
	}
	if got := nodes(t, s, as(t, "b", "x"), "greeter"); len(got) != 1 {
		t.Errorf("the same address in another namespace has %v", got)
	}
	for _, req := range []*registrypb.EndRequest{{Host: "10.201.0.2", At: 1}, {Domain: "a", Host: "::1", At: 1}, {Domain: "a", Host: "10.201.0.2"}} {
		if _, err := s.End(c, req); errors.Code(err) != codes.InvalidArgument {
			t.Errorf("End(%v) = %v, want InvalidArgument", req, err)
		}
	}
	if _, err := s.End(as(t, "a", "x"), &registrypb.EndRequest{Domain: "a", Host: "10.201.0.20", At: ended}); errors.Code(err) != codes.PermissionDenied {
		t.Errorf("End by an account = %v, want PermissionDenied", err)
	}
}

// TestPlatformRegistersInTheNameOfAnAccount shows how a service that knows
// nothing of the platform is registered, and stays until it is evicted.
func TestPlatformRegistersInTheNameOfAnAccount(t *testing.T) {
	t.Parallel()
	s := setup(t)
	register(t, s, asComponent(t), greeter("n1", func(r *registrypb.Service) {
		r.Options = &registrypb.Options{Domain: "a"}
		r.Nodes[0].Metadata["account"] = "plain-1"
	}))
	rsp, err := s.List(asComponent(t), &registrypb.NodesRequest{Domain: "a", Account: "plain-1"})
	if err != nil || len(rsp.GetServices()) != 1 {
		t.Fatalf("List = %v, %v; want the node", rsp, err)
	}
}

func TestCoreServices(t *testing.T) {
	t.Parallel()
	s := setup(t)
	a := as(t, "a", "x")
	register(t, s, a, greeter("n1"))
	for _, domain := range []string{"", "micro", "a"} {
		rsp, err := s.GetService(a, &registrypb.GetRequest{Service: "registry", Options: &registrypb.Options{Domain: domain}})
		if err != nil || len(rsp.GetServices()) != 1 || len(rsp.GetServices()[0].GetNodes()) != 1 || len(rsp.GetServices()[0].GetEndpoints()) != 5 {
			t.Errorf("GetService(registry) in %q = %v, %v; want one node and five endpoints", domain, rsp, err)
		}
	}
	for domain, want := range map[string]string{"": "greeter", "a": "greeter", "micro": "greeter auth broker config events namespaces network registry runtime store"} {
		rsp, err := s.ListServices(a, &registrypb.ListRequest{Options: &registrypb.Options{Domain: domain}})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, v := range rsp.GetServices() {
			names = append(names, v.GetName())
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("ListServices in %q = %s, want %s", domain, got, want)
		}
	}
}

func TestVersionsAreLimited(t *testing.T) {
	t.Parallel()
	s := setup(t)
	a := as(t, "a", "x")
	version := func(i int) *registrypb.Service {
		return greeter("n1", func(r *registrypb.Service) { r.Version = fmt.Sprint(i) })
	}
	for i := range s.opts.MaxVersions {
		register(t, s, a, version(i))
	}
	if _, err := s.Register(a, version(s.opts.MaxVersions)); errors.Code(err) != codes.ResourceExhausted {
		t.Errorf("Register = %v, want ResourceExhausted", err)
	}
	register(t, s, a, version(0))
}

// stream is the server's side of a Watch.
type stream struct {
	grpc.ServerStream
	ctx     context.Context
	results chan *registrypb.Result
}

func newStream(ctx context.Context) *stream {
	return &stream{ctx: ctx, results: make(chan *registrypb.Result, 1000)}
}

func (s *stream) Context() context.Context { return s.ctx }

func (s *stream) Send(r *registrypb.Result) error {
	s.results <- proto.CloneOf(r)
	return nil
}

// FuzzRegistration shows that no registration of a tenant gets an address that
// is not a tenant's.
func FuzzRegistration(f *testing.F) {
	for _, a := range []string{"10.0.0.1:80", "127.0.0.1:1", "[::1]:1", "[::ffff:a9fe:a9fe]:80", "0:1", "::1:80", "1.1.1.1:99999"} {
		f.Add(a, int64(0))
	}
	f.Fuzz(func(t *testing.T, address string, port int64) {
		n := &registrypb.Node{Id: "n", Address: address, Port: port}
		if settleAddress(n, trust{}) != nil {
			return
		}
		again := &registrypb.Node{Id: "n", Address: n.GetAddress()}
		if err := settleAddress(again, trust{}); err != nil || again.GetAddress() != n.GetAddress() {
			t.Errorf("%q became %q, which is not accepted: %v", address, n.GetAddress(), err)
		}
	})
}

// TestRestartForgives shows that nodes whose time ran out while no registry was
// there to renew them are still known to the next one.
func TestRestartForgives(t *testing.T) {
	t.Parallel()
	s := setup(t)
	a := as(t, "a", "greeter-1")
	register(t, s, a, greeter("n1"))
	expire(t, s)
	if err := s.db.forgive(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := nodes(t, s, a, "greeter"); len(got) != 1 {
		t.Errorf("%d nodes are known, want 1", len(got))
	}
}
