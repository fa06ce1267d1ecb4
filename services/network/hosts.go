package network

import (
	"cmp"
	"context"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	builderpb "github.com/micro/platform/proto/builder"
	networkpb "github.com/micro/platform/proto/network"
	schedulerpb "github.com/micro/platform/proto/scheduler"
)

// askTimeout bounds the questions to the scheduler and the builder, who ask
// Docker.
const askTimeout = 15 * time.Second

// Hosts implements Network.
func (s *Service) Hosts(ctx context.Context, _ *networkpb.HostsRequest) (*networkpb.HostsResponse, error) {
	caller, err := identity.Require(ctx)
	if err != nil {
		return nil, err
	}
	if !caller.Operator() {
		return nil, errors.New(codes.PermissionDenied, "only operators see the hosts")
	}
	ctx, cancel := context.WithTimeout(identity.AsComponent(ctx), askTimeout)
	defer cancel()
	runs, err := s.scheduler.Hosts(ctx, &schedulerpb.HostsRequest{})
	if err != nil {
		return nil, err
	}
	builds, err := s.builder.Hosts(ctx, &builderpb.HostsRequest{})
	if err != nil {
		return nil, err
	}
	hosts := map[string]*networkpb.Host{}
	named := func(name string) *networkpb.Host {
		if hosts[name] == nil {
			hosts[name] = &networkpb.Host{Name: name}
		}
		return hosts[name]
	}
	for _, r := range runs.GetHosts() {
		addServices(named(r.GetName()), r)
	}
	for _, b := range builds.GetHosts() {
		addBuilds(named(b.GetName()), b)
	}
	rsp := &networkpb.HostsResponse{}
	for _, h := range hosts {
		rsp.Hosts = append(rsp.Hosts, h)
	}
	slices.SortFunc(rsp.Hosts, func(a, b *networkpb.Host) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return rsp, nil
}

func addServices(h *networkpb.Host, r *schedulerpb.Host) {
	h.Docker, h.ServicesRuntime, h.ServicesGvisor = r.GetDocker(), r.GetRuntime(), r.GetGvisor()
	h.Firewall, h.FirewallMended, h.Unrouted = r.GetFirewall(), r.GetMended(), r.GetUnrouted()
	h.Address, h.State, h.Availability = r.GetAddress(), r.GetState(), r.GetAvailability()
	switch {
	case r.GetUnrouted():
		if r.GetProblem() != "" {
			h.Problems = append(h.Problems, "services: "+r.GetProblem())
			return
		}
	case r.GetFirewall():
	case r.GetProblem() == "":
		h.Problems = append(h.Problems, "firewall: it was not looked at yet")
	default:
		h.Problems = append(h.Problems, "firewall: "+r.GetProblem())
	}
	switch {
	case r.GetGvisor():
	case len(r.GetGvisorRuntimes()) > 0:
		h.Problems = append(h.Problems, "services: gVisor is there, but is not Docker's default runtime")
	default:
		h.Problems = append(h.Problems, "services: Docker has no runtime runsc")
	}
}

func addBuilds(h *networkpb.Host, b *builderpb.Host) {
	h.BuildsRuntime, h.BuildsGvisor = b.GetRuntime(), b.GetGvisor()
	if b.GetProblem() != "" {
		h.Problems = append(h.Problems, "builds: "+b.GetProblem())
	}
}
