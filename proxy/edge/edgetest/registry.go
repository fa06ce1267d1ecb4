package edgetest

import (
	"context"
	"maps"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	registrypb "github.com/micro/platform/proto/registry"
)

// registry answers what a test has registered, and pushes changes.
type registry struct {
	registrypb.UnimplementedRegistryServer

	feed feed[*registrypb.Result]

	mu       sync.Mutex
	versions map[string]*registrypb.Service // by namespace, name and version
	asked    int
}

func (r *registry) register(s grpc.ServiceRegistrar) { registrypb.RegisterRegistryServer(s, r) }

func (r *registry) put(namespace string, s *registrypb.Service, tell bool) {
	s = proto.CloneOf(s)
	s.Options = &registrypb.Options{Domain: namespace}
	key, action := namespace+" "+s.GetName()+" "+s.GetVersion(), "update"
	r.mu.Lock()
	if r.versions[key] = s; len(s.GetNodes()) == 0 {
		delete(r.versions, key)
		action = "delete"
	}
	r.mu.Unlock()
	if tell {
		r.feed.send(&registrypb.Result{Action: action, Service: s})
	}
}

// GetService implements registrypb.RegistryServer.
func (r *registry) GetService(ctx context.Context, req *registrypb.GetRequest) (*registrypb.GetResponse, error) {
	namespace, err := identity.Member(ctx, req.GetOptions().GetDomain())
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	var rsp registrypb.GetResponse
	for _, key := range slices.Sorted(maps.Keys(r.versions)) {
		if s := r.versions[key]; s.GetName() == req.GetService() && s.GetOptions().GetDomain() == namespace {
			rsp.Services = append(rsp.Services, s)
		}
	}
	if len(rsp.Services) == 0 {
		return nil, errors.New(codes.NotFound, "service not found")
	}
	return &rsp, nil
}

// Watch implements registrypb.RegistryServer. People get what comes after
// theirs, and wait for the end of their request as every handler does.
func (r *registry) Watch(req *registrypb.WatchRequest, s grpc.ServerStreamingServer[registrypb.Result]) error {
	if req.GetOptions().GetDomain() != "*" {
		return s.Send(&registrypb.Result{Action: "create", Service: &registrypb.Service{Name: req.GetService()}})
	}
	if err := identity.RequireComponent(s.Context()); err != nil {
		return err
	}
	return r.feed.serve(s.Context(), &registrypb.Result{Action: "ready"}, s.Send)
}

// Asked answers how often the registry was asked about a service.
func (p *Platform) Asked() int {
	p.registry.mu.Lock()
	defer p.registry.mu.Unlock()
	return p.registry.asked
}
