package network

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/identity"
	builderpb "github.com/micro/platform/proto/builder"
	networkpb "github.com/micro/platform/proto/network"
	registrypb "github.com/micro/platform/proto/registry"
	schedulerpb "github.com/micro/platform/proto/scheduler"
)

// Component runs the service, alone or beside the others.
var Component = app.New("network", func(_ context.Context, h *app.Host, _ struct{}) error {
	conn, err := h.Conn("registry")
	if err != nil {
		return err
	}
	scheduler, err := h.Conn("scheduler")
	if err != nil {
		return err
	}
	builder, err := h.Conn("builder")
	if err != nil {
		return err
	}
	s, err := h.Server()
	if err != nil {
		return err
	}
	networkpb.RegisterNetworkServer(s, New(registrypb.NewRegistryClient(conn), schedulerpb.NewSchedulerClient(scheduler), builderpb.NewBuilderClient(builder)))
	return h.Serve(s)
})

// Service implements the Network RPCs.
type Service struct {
	networkpb.UnsafeNetworkServer

	registry  registrypb.RegistryClient
	scheduler schedulerpb.SchedulerClient
	builder   builderpb.BuilderClient
}

// New makes a Service that asks registry what runs, and the others where.
func New(registry registrypb.RegistryClient, scheduler schedulerpb.SchedulerClient, builder builderpb.BuilderClient) *Service {
	return &Service{registry: registry, scheduler: scheduler, builder: builder}
}

// router is who knows the routes.
const router = "registry"

// metric is what a route costs: every instance is one hop behind the edge.
const metric = 1

// Connect implements Network.
func (s *Service) Connect(context.Context, *networkpb.ConnectRequest) (*networkpb.ConnectResponse, error) {
	return nil, errors.New(codes.Unimplemented, "nodes are not connected by hand: a service that runs is in the network")
}

// Graph implements Network.
func (s *Service) Graph(ctx context.Context, req *networkpb.GraphRequest) (*networkpb.GraphResponse, error) {
	nodes, err := s.nodes(ctx, "")
	if err != nil {
		return nil, err
	}
	root := &networkpb.Peer{Node: &networkpb.Node{Id: "edge", Address: "platform", Network: identity.Platform}}
	if req.GetDepth() == 0 {
		return &networkpb.GraphResponse{Root: root}, nil
	}
	for _, n := range nodes {
		root.Peers = append(root.Peers, &networkpb.Peer{Node: n})
	}
	return &networkpb.GraphResponse{Root: root}, nil
}

// Nodes implements Network.
func (s *Service) Nodes(ctx context.Context, _ *networkpb.NodesRequest) (*networkpb.NodesResponse, error) {
	nodes, err := s.nodes(ctx, "")
	if err != nil {
		return nil, err
	}
	return &networkpb.NodesResponse{Nodes: nodes}, nil
}

// Routes implements Network.
func (s *Service) Routes(ctx context.Context, req *networkpb.RoutesRequest) (*networkpb.RoutesResponse, error) {
	q := req.GetQuery()
	nodes, err := s.nodes(ctx, q.GetNetwork())
	if err != nil {
		return nil, err
	}
	rsp := &networkpb.RoutesResponse{}
	for _, n := range nodes {
		r := &networkpb.Route{
			Service: n.GetMetadata()["service"], Address: n.GetAddress(), Network: n.GetNetwork(),
			Router: router, Link: "local", Metric: metric, Metadata: n.GetMetadata(),
		}
		if matches(q, r) {
			rsp.Routes = append(rsp.Routes, r)
		}
	}
	return rsp, nil
}

// matches says whether a route has all that a query asks for.
func matches(q *networkpb.Query, r *networkpb.Route) bool {
	for _, f := range []struct{ asked, is string }{
		{q.GetService(), r.GetService()},
		{q.GetAddress(), r.GetAddress()},
		{q.GetGateway(), r.GetGateway()},
		{q.GetRouter(), r.GetRouter()},
	} {
		if f.asked != "" && f.asked != f.is {
			return false
		}
	}
	return true
}

// Services implements Network.
func (s *Service) Services(ctx context.Context, _ *networkpb.ServicesRequest) (*networkpb.ServicesResponse, error) {
	nodes, err := s.nodes(ctx, "")
	if err != nil {
		return nil, err
	}
	rsp := &networkpb.ServicesResponse{}
	for _, n := range nodes {
		rsp.Services = append(rsp.Services, n.GetMetadata()["service"])
	}
	rsp.Services = slices.Compact(rsp.Services) // nodes are ordered by service
	return rsp, nil
}

// Status implements Network.
func (s *Service) Status(ctx context.Context, _ *networkpb.StatusRequest) (*networkpb.StatusResponse, error) {
	if _, err := identity.Require(ctx); err != nil {
		return nil, err
	}
	return &networkpb.StatusResponse{Status: &networkpb.Status{Error: &networkpb.Error{}}}, nil
}

// nodes answers the instances of a namespace, by service and id.
func (s *Service) nodes(ctx context.Context, namespace string) ([]*networkpb.Node, error) {
	ns, err := identity.Member(ctx, namespace)
	if err != nil {
		return nil, err
	}
	rsp, err := s.registry.ListServices(ctx, &registrypb.ListRequest{Options: &registrypb.Options{Domain: ns}})
	if err != nil {
		return nil, err
	}
	var nodes []*networkpb.Node
	for _, v := range rsp.GetServices() {
		for _, n := range v.GetNodes() {
			metadata := maps.Clone(n.GetMetadata())
			if metadata == nil {
				metadata = map[string]string{}
			}
			metadata["service"], metadata["version"] = v.GetName(), v.GetVersion()
			nodes = append(nodes, &networkpb.Node{
				Id: n.GetId(), Address: n.GetAddress(), Network: ns, Metadata: metadata,
				Status: &networkpb.Status{Error: &networkpb.Error{}},
			})
		}
	}
	slices.SortFunc(nodes, func(a, b *networkpb.Node) int {
		return cmp.Or(cmp.Compare(a.GetMetadata()["service"], b.GetMetadata()["service"]), cmp.Compare(a.GetId(), b.GetId()))
	})
	return nodes, nil
}
