package network

import (
	"context"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/grants"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pgtest"
	builderpb "github.com/micro/platform/proto/builder"
	networkpb "github.com/micro/platform/proto/network"
	registrypb "github.com/micro/platform/proto/registry"
	schedulerpb "github.com/micro/platform/proto/scheduler"
	"github.com/micro/platform/services/registry"
)

// direct calls the real registry without a wire between.
type direct struct {
	registrypb.RegistryClient
	server *registry.Service
}

func (d direct) ListServices(ctx context.Context, req *registrypb.ListRequest, _ ...grpc.CallOption) (*registrypb.ListResponse, error) {
	return d.server.ListServices(ctx, req)
}

func as(ctx context.Context, namespace string) context.Context {
	return identity.With(ctx, identity.Caller{ID: "cart-1", Type: identity.Service, Namespace: namespace, Scopes: []string{"service"}})
}

// newNetwork makes a network with two services in namespace acme.
func newNetwork(t *testing.T) *Service {
	t.Helper()
	r := registry.New(pgtest.New(t, "registry"), nil, slog.New(slog.DiscardHandler), registry.Options{MaxVersions: 10})
	for name, address := range map[string]string{"cart": "10.0.0.1:80", "shop": "10.0.0.2:80"} {
		_, err := r.Register(as(t.Context(), "acme"), &registrypb.Service{
			Name: name, Version: "v1", Options: &registrypb.Options{Ttl: 90},
			Nodes: []*registrypb.Node{{Id: name + "-1", Address: address}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return New(direct{server: r}, schedulers{}, builders{})
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	s := newNetwork(t)
	for _, tt := range []struct {
		name  string
		query *networkpb.Query
		want  []string
	}{
		{"all", nil, []string{"cart 10.0.0.1:80", "shop 10.0.0.2:80"}},
		{"own namespace by its old name", &networkpb.Query{Network: "micro"}, []string{"cart 10.0.0.1:80", "shop 10.0.0.2:80"}},
		{"service", &networkpb.Query{Service: "shop"}, []string{"shop 10.0.0.2:80"}},
		{"address and router", &networkpb.Query{Address: "10.0.0.1:80", Router: "registry"}, []string{"cart 10.0.0.1:80"}},
		{"no such gateway", &networkpb.Query{Gateway: "g"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rsp, err := s.Routes(as(t.Context(), "acme"), &networkpb.RoutesRequest{Query: tt.query})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range rsp.GetRoutes() {
				got = append(got, r.GetService()+" "+r.GetAddress())
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestNobodyElseSees(t *testing.T) {
	t.Parallel()
	s := newNetwork(t)
	rsp, err := s.Services(as(t.Context(), "other"), &networkpb.ServicesRequest{})
	if err != nil || len(rsp.GetServices()) != 0 {
		t.Errorf("another namespace sees %v, %v", rsp.GetServices(), err)
	}
	_, err = s.Routes(as(t.Context(), "other"), &networkpb.RoutesRequest{Query: &networkpb.Query{Network: "acme"}})
	if errors.Code(err) != codes.PermissionDenied {
		t.Errorf("Routes of another namespace = %v, want PermissionDenied", err)
	}
	if _, err := s.Nodes(t.Context(), &networkpb.NodesRequest{}); errors.Code(err) != codes.Unauthenticated {
		t.Errorf("Nodes for a stranger = %v, want Unauthenticated", err)
	}
}

func TestGraph(t *testing.T) {
	t.Parallel()
	s := newNetwork(t)
	for depth, peers := range map[uint32]int{0: 0, 1: 2} {
		rsp, err := s.Graph(as(t.Context(), "acme"), &networkpb.GraphRequest{Depth: depth})
		if err != nil {
			t.Fatal(err)
		}
		if got := len(rsp.GetRoot().GetPeers()); got != peers {
			t.Errorf("depth %d: %d peers, want %d", depth, got, peers)
		}
	}
}

type schedulers struct{ schedulerpb.SchedulerClient }

func (schedulers) Hosts(context.Context, *schedulerpb.HostsRequest, ...grpc.CallOption) (*schedulerpb.HostsResponse, error) {
	return &schedulerpb.HostsResponse{Hosts: []*schedulerpb.Host{
		{Name: "one", Docker: "20.10", Runtime: "runsc", Gvisor: true, Firewall: true, Mended: 2},
		{Name: "two", Docker: "28.1", Runtime: "runc", GvisorRuntimes: []string{"runsc"}, Problem: "nft is missing"},
	}}, nil
}

type builders struct{ builderpb.BuilderClient }

func (builders) Hosts(context.Context, *builderpb.HostsRequest, ...grpc.CallOption) (*builderpb.HostsResponse, error) {
	return &builderpb.HostsResponse{Hosts: []*builderpb.Host{{Name: "one", Runtime: "runsc", Gvisor: true}}}, nil
}

// TestHosts shows that operators see every host, and nobody else does.
func TestHosts(t *testing.T) {
	t.Parallel()
	s := newNetwork(t)
	for _, c := range []identity.Caller{
		{ID: "a", Type: identity.User, Namespace: "acme", Scopes: []string{"admin"}},
		{ID: "a", Type: identity.User, Namespace: identity.Platform},
		{ID: "a", Type: identity.User, Namespace: identity.Platform, Scopes: []string{"admin"}, Grants: []grants.Grant{{Service: "*", Endpoint: "*", Write: true}}},
	} {
		if _, err := s.Hosts(identity.With(t.Context(), c), nil); errors.Code(err) != codes.PermissionDenied {
			t.Errorf("%+v: %v", c, err)
		}
	}
	operator := identity.Caller{ID: "a", Type: identity.User, Namespace: identity.Platform, Scopes: []string{"admin"}}
	got, err := s.Hosts(identity.With(t.Context(), operator), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []*networkpb.Host{
		{Name: "one", Docker: "20.10", ServicesRuntime: "runsc", ServicesGvisor: true, BuildsRuntime: "runsc", BuildsGvisor: true, Firewall: true, FirewallMended: 2},
		{Name: "two", Docker: "28.1", ServicesRuntime: "runc", Problems: []string{
			"firewall: nft is missing", "services: gVisor is there, but is not Docker's default runtime"}},
	}
	if diff := cmp.Diff(want, got.GetHosts(), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}
