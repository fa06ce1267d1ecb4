package scheduler

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/dockerhost"
	"github.com/micro/platform/internal/identity"
	schedulerpb "github.com/micro/platform/proto/scheduler"
	"github.com/micro/platform/scheduler/firewall"
	"github.com/micro/platform/scheduler/plan"
)

// guard gives the host a firewall that knows the namespaces' networks.
func (s *Service) guard(log *slog.Logger) {
	s.firewall = firewall.New(s.policy, log)
	s.driver.Guard(s.firewall.Assert)
}

// replanned hears that a namespace, or any if that is "", is on another plan.
func (s *Service) replanned(string) {
	if s.firewall != nil {
		s.firewall.Look()
	}
}

// policy is what containers may reach now.
func (s *Service) policy(ctx context.Context) (firewall.Policy, error) {
	bridges, err := s.driver.Bridges(ctx)
	if err != nil {
		return firewall.Policy{}, err
	}
	p := firewall.Policy{
		Cluster: s.cluster, Prefix: plan.BridgePrefix(s.cluster),
		Open: s.opts.Open, Closed: s.opts.Closed,
	}
	for bridge, namespace := range bridges {
		t, err := s.tenants.Of(ctx, namespace)
		if err != nil {
			return p, err
		}
		p.Networks = append(p.Networks, firewall.Network{Bridge: bridge, Internet: s.opts.Internet && t.Limits.Egress != 0})
	}
	if p.Resolvers, err = s.resolvers(); err != nil {
		return p, err
	}
	if len(bridges) == 0 {
		return p, nil // nobody is to reach the edge yet
	}
	p.Edges, err = s.edges(ctx)
	return p, err
}

// edges are the addresses at which containers reach the proxy.
func (s *Service) edges(ctx context.Context) ([]netip.AddrPort, error) {
	edge, err := s.edge(ctx)
	if err != nil {
		return nil, err
	}
	host, text, err := net.SplitHostPort(edge)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("MICRO_SCHEDULER_EDGE_ADDRESS: port %q: %w", text, err)
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", host)
	if err != nil {
		return nil, fmt.Errorf("MICRO_SCHEDULER_EDGE_ADDRESS: %w", err)
	}
	var out []netip.AddrPort
	for _, a := range found {
		out = append(out, netip.AddrPortFrom(a, uint16(port)))
	}
	return out, nil
}

// admit refuses the code of a namespace where what the operator requires to
// keep it in is not there. It answers whether a host must be chosen that has gVisor.
func (s *Service) admit(ctx context.Context, namespace string) (choose bool, err error) {
	if namespace == identity.Platform {
		return false, nil
	}
	t, err := s.tenants.Of(ctx, namespace)
	if err != nil {
		return false, err
	}
	required := func(setting string) bool { return setting == require || setting == strangers && t.Untrusted() }
	if !required(s.opts.Firewall) && !required(s.opts.GVisor) {
		return false, nil
	}
	hosts, err := s.hosts(ctx)
	if err != nil {
		return false, err
	}
	hosts = slices.DeleteFunc(hosts, func(h *schedulerpb.Host) bool { return h.GetState() == down }) // nothing is placed there
	if required(s.opts.Firewall) {
		if err := guarded(hosts); err != nil {
			return false, err
		}
	}
	if !required(s.opts.GVisor) {
		return false, nil
	}
	return s.opts.Networks == overlay, contained(hosts)
}

// guarded says which host has no firewall in force, and needs one.
func guarded(hosts []*schedulerpb.Host) error {
	for _, h := range hosts {
		if !h.GetFirewall() && !h.GetUnrouted() {
			return errors.New(codes.FailedPrecondition, "the host's firewall is not in force, and services do not run without it here: tell the operator").
				Because(fmt.Errorf("%s: %s: docs/isolation.md says what it needs, MICRO_SCHEDULER_FIREWALL=auto goes without", h.GetName(), h.GetProblem()))
		}
	}
	return nil
}

// contained says that no host runs services in gVisor. One is enough: they are
// placed there.
func contained(hosts []*schedulerpb.Host) error {
	var others []string
	for _, h := range hosts {
		if h.GetGvisor() {
			return nil
		}
		others = append(others, fmt.Sprintf("%s (%s)", h.GetName(), cmp.Or(h.GetRuntime(), "does not answer")))
	}
	return errors.New(codes.FailedPrecondition, "no host runs containers in gVisor, and services do not run without it here: tell the operator").
		Because(fmt.Errorf("the default runtimes of Docker are %s: make one runsc (docs/isolation.md), or set MICRO_SCHEDULER_GVISOR=auto", strings.Join(others, ", ")))
}

// down is the state of a host that the swarm has lost.
const down = "down"

// Hosts implements the RPC.
func (s *Service) Hosts(ctx context.Context, _ *schedulerpb.HostsRequest) (*schedulerpb.HostsResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	all, err := s.hosts(ctx)
	return &schedulerpb.HostsResponse{Hosts: all}, err
}

// hosts are those that services may run on. Overlays are internal: they need no
// firewall, since a container has no route to anything that one would refuse.
func (s *Service) hosts(ctx context.Context) ([]*schedulerpb.Host, error) {
	if s.opts.Networks == overlay {
		return s.driver.Hosts(ctx)
	}
	host, err := s.host(ctx)
	if err != nil {
		return nil, err
	}
	return []*schedulerpb.Host{host}, nil
}

// host is the one that this scheduler's Docker is on.
func (s *Service) host(ctx context.Context) (*schedulerpb.Host, error) {
	info, err := s.driver.Info(ctx)
	if err != nil {
		return nil, err
	}
	runtimes := dockerhost.RuntimesOf(info)
	h := &schedulerpb.Host{Name: info.Name, Docker: info.ServerVersion, Runtime: info.DefaultRuntime, Gvisor: runtimes.DefaultIsGVisor(), Address: info.Swarm.NodeAddr}
	for _, r := range runtimes.GVisor {
		h.GvisorRuntimes = append(h.GvisorRuntimes, r.Name)
	}
	switch {
	case s.opts.Firewall == off:
		h.Problem = "MICRO_SCHEDULER_FIREWALL is off: its rules are the operator's"
	case s.firewall == nil:
		h.Problem = "Docker is not on the scheduler's machine: its firewall is the operator's"
	default:
		state := s.firewall.State()
		h.Firewall, h.Problem, h.Mended = state.InForce, state.Problem, int64(state.Mended)
	}
	return h, nil
}

// Egress implements the RPC. Without a firewall nothing is counted.
func (s *Service) Egress(ctx context.Context, _ *schedulerpb.EgressRequest) (*schedulerpb.EgressResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	rsp := &schedulerpb.EgressResponse{}
	if s.firewall == nil {
		return rsp, nil
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("which start of the host this is: %w", err)
	}
	// What a network has sent that is gone now is known when it comes back.
	bridges, err := s.driver.Bridges(ctx)
	if err != nil {
		return nil, err
	}
	sent, err := firewall.Sent(ctx, s.cluster)
	if err != nil {
		return nil, err
	}
	for bridge, namespace := range bridges {
		if n := sent[bridge]; n > 0 {
			rsp.Namespaces = append(rsp.Namespaces, &schedulerpb.Egress{Namespace: namespace, Counter: strings.TrimSpace(string(boot)), Bytes: n})
		}
	}
	return rsp, nil
}
