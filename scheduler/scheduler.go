package scheduler

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"

	"google.golang.org/grpc"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/dockerhost"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/tenants"
	registrypb "github.com/micro/platform/proto/registry"
	schedulerpb "github.com/micro/platform/proto/scheduler"
	"github.com/micro/platform/scheduler/firewall"
	"github.com/micro/platform/scheduler/plan"
	"github.com/micro/platform/scheduler/swarm"
)

// Options come from MICRO_SCHEDULER_*.
type Options struct {
	EdgeAddress string        `env:"EDGE_ADDRESS" default:":8081"         help:"where containers reach the proxy, host:port; without a host it is the address of this host that containers reach, or with overlays the name that edges have there"`
	Egress      string        `env:"EGRESS_ADDRESS" default:":8083"       help:"where containers on overlays reach the internet, an HTTP proxy: MICRO_PROXY_EGRESS_ADDRESS of the proxies; without a host it is the name that edges have there, and empty is no internet"`
	Networks    string        `env:"NETWORKS"     default:"bridge"        help:"what networks of namespaces are: bridge, on one host, or overlay, over all hosts of the swarm, each of which runs the component host, and its edges in containers"`
	Subnets     netip.Prefix  `env:"SUBNETS"      default:"10.201.0.0/16" help:"the networks of namespaces are cut out of it, 62 addresses each"`
	Images      string        `env:"IMAGES"       default:"127.0.0.1:5000" help:"where the Docker of each host finds the platform's images: MICRO_HOST_IMAGES_ADDRESS of all hosts"`
	Start       time.Duration `env:"START"        default:"30s"           help:"how long a container may take until its port answers"`
	Memory      int64         `env:"MEMORY"       default:"268435456"     help:"bytes of memory of a container, its temporary files included"`
	Reserve     int64         `env:"RESERVE"      default:"33554432"      help:"bytes of memory that a host must have left for a container to go there"`
	CPUs        float64       `env:"CPUS"         default:"1"             help:"processors of a container"`
	Pids        int64         `env:"PIDS"         default:"256"           help:"processes and threads of a container"`
	Tmp         int64         `env:"TMP"          default:"67108864"      help:"bytes of a container's /tmp, and of its home, both in memory"`
	Firewall    string        `env:"FIREWALL"     default:"strangers"          help:"rules that keep containers off this host and private networks, set where that can be: strangers refuses services of namespaces on other plans than local without them, require those of all tenants, auto none; off leaves them to you"`
	GVisor      string        `env:"GVISOR"       default:"auto"          help:"gVisor for services, used where it is Docker's default runtime: strangers refuses services of namespaces on other plans than local without it, require those of all tenants, auto none"`
	Internet    bool          `env:"INTERNET"     default:"true"          help:"whether containers reach the internet, as far as the plan of their namespace has egress"`
	Resolvers   []netip.Addr  `env:"RESOLVERS"    help:"name servers of containers, separated by commas; empty are this host's"`

	Open   []netip.Prefix `env:"OPEN_NETWORKS"   help:"private networks that containers may reach, 10.1.0.0/16,..."`
	Closed []netip.Prefix `env:"CLOSED_NETWORKS" help:"networks that containers must not reach beside the private ones"`
}

// The kinds of networks.
const (
	bridge  = "bridge"
	overlay = "overlay"
)

// The ways to treat tenants' code where something that keeps it in is not there.
const (
	strangers = "strangers"
	require   = "require"
	auto      = "auto"
	off       = "off"
)

func (o Options) check() error {
	switch {
	case !o.Subnets.Addr().Is4() || o.Subnets.Bits() > swarm.NetworkBits || o.Subnets.Bits() < 8:
		return fmt.Errorf("MICRO_SCHEDULER_SUBNETS is %s: it must be IPv4 and between /8 and /%d", o.Subnets, swarm.NetworkBits)
	case o.Start <= 0 || o.Memory < minMemory || o.CPUs <= 0 || o.Pids < 8 || o.Tmp <= 0 || o.Reserve < 0:
		return fmt.Errorf("MICRO_SCHEDULER_START, MEMORY (at least 6 MiB), CPUS, PIDS (at least 8) and TMP must be positive")
	case o.Networks != bridge && o.Networks != overlay:
		return fmt.Errorf("MICRO_SCHEDULER_NETWORKS is %q: bridge and overlay are possible", o.Networks)
	case !slices.Contains([]string{strangers, require, auto, off}, o.Firewall):
		return fmt.Errorf("MICRO_SCHEDULER_FIREWALL is %q: strangers, require, auto and off are possible", o.Firewall)
	case !slices.Contains([]string{strangers, require, auto}, o.GVisor):
		return fmt.Errorf("MICRO_SCHEDULER_GVISOR is %q: strangers, require and auto are possible", o.GVisor)
	}
	if _, _, err := net.SplitHostPort(o.EdgeAddress); err != nil {
		return fmt.Errorf("MICRO_SCHEDULER_EDGE_ADDRESS: %w", err)
	}
	return nil
}

// minMemory is the least that Docker gives a container.
const minMemory = 6 << 20

// minTmp is a page, the least that a directory in memory can be.
const minTmp = 4 << 10

// Component runs the scheduler, alone or beside the others.
var Component = app.New("scheduler", func(ctx context.Context, h *app.Host, o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	pool, err := h.DB(ctx)
	if err != nil {
		return err
	}
	if err := keepID(ctx, pool, h.Platform.ClusterID()); err != nil {
		return err
	}
	docker, err := dockerhost.New()
	if err != nil {
		return err
	}
	h.OnStop(func(context.Context) { docker.Close() })
	local := dockerhost.Local(docker) && o.Networks == bridge
	settings := swarm.Options{Cluster: h.Platform.ClusterID(), Subnets: o.Subnets, Start: o.Start, Local: local}
	if o.Networks == overlay {
		settings.Dial = func(address string) (*grpc.ClientConn, error) { return h.Dial("host", address) }
	}
	driver := swarm.New(docker, settings, h.Log)
	h.OnStop(func(context.Context) { driver.Close() })
	if o.Networks == overlay { // another scheduler has another Docker
		h.Gate(driver.Away)
	}
	svc := New(driver, h.Platform.ClusterID(), o)
	if local && o.Firewall != off {
		svc.guard(h.Log)
	}
	if local {
		svc.dir = h.StateDir
	}
	if svc.tenants, err = tenants.Open(h, svc.replanned); err != nil {
		return err
	}
	if svc.firewall != nil {
		h.Go("firewall", svc.firewall.Run)
	}
	s, err := h.Server()
	if err != nil {
		return err
	}
	schedulerpb.RegisterSchedulerServer(s, svc)
	schedulerpb.RegisterComponentsServer(s, componentsAPI{s: svc})
	registry, err := h.Conn("registry")
	if err != nil {
		return err
	}
	nodes := registrypb.NewNodesClient(registry)
	h.Go("watch", driver.Run)
	h.Go("ended", func(ctx context.Context) error {
		return driver.TellEnded(identity.AsComponent(ctx), func(ctx context.Context, e swarm.Ended) error {
			_, err := nodes.End(ctx, &registrypb.EndRequest{Domain: e.Namespace, Host: e.IP, Ago: max(e.Ago.Milliseconds(), 1)})
			return err
		})
	})
	h.Lead("tend", "scheduler "+h.Platform.ClusterID(), pool, driver.TendLoop)
	return h.Serve(s)
})

// Service implements the Scheduler RPCs.
type Service struct {
	schedulerpb.UnsafeSchedulerServer

	driver   *swarm.Driver
	cluster  string
	opts     Options
	tenants  *tenants.Tenants
	dir      func() (string, error) // for files that containers are given; nil where they are on another machine
	firewall *firewall.Firewall     // nil where this process keeps none
}

// New makes a Service.
func New(driver *swarm.Driver, cluster string, o Options) *Service {
	return &Service{driver: driver, cluster: cluster, opts: o}
}

// Apply implements the RPC. Any scheduler may answer it: two at once come to
// the same, since Docker lets only one of them make a service.
func (s *Service) Apply(ctx context.Context, req *schedulerpb.ApplyRequest) (*schedulerpb.ApplyResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	edge, err := s.edge(ctx)
	if err != nil {
		return nil, err
	}
	d := req.GetDeployment()
	choose, err := s.admit(ctx, d.GetId().GetNamespace())
	if err != nil {
		return nil, err
	}
	hosts := d.GetHosts()
	if choose {
		hosts = map[string]string{}
		maps.Copy(hosts, d.GetHosts())
		hosts[plan.HostGVisor] = plan.InGVisor
	}
	names, err := s.resolvConf(ctx)
	if err != nil {
		return nil, err
	}
	p, err := plan.New(plan.Deployment{
		ID: id(d.GetId()), Image: d.GetImage(), Env: d.GetEnv(), Command: d.GetCommand(), Args: d.GetArgs(),
		Instances: int(d.GetInstances()), Hosts: hosts,
	}, plan.Config{Cluster: s.cluster, Images: s.opts.Images, Edge: edge, Egress: s.egress(), Limits: s.limits(d), Resolvers: s.opts.Resolvers, ResolvConf: names})
	if err != nil {
		return nil, err
	}
	return &schedulerpb.ApplyResponse{}, s.driver.Apply(ctx, p)
}

// limits are those of the plan that the deployment is on, as far as it has any,
// and the scheduler's own.
func (s *Service) limits(d *schedulerpb.Deployment) plan.Limits {
	o := s.opts
	l := plan.Limits{Memory: o.Memory, Reserve: o.Reserve, CPUs: o.CPUs, Pids: o.Pids, Tmp: o.Tmp}
	if n := d.GetMillicores(); n > 0 {
		l.CPUs = float64(n) / 1000
	}
	if n := d.GetMemory(); n > 0 {
		l.Memory = max(n, minMemory)
	}
	if n := d.GetDisk(); n > 0 { // a size of 0 would be no limit
		l.Tmp = max(min(l.Tmp, n/2), minTmp)
	}
	l.Reserve = min(l.Reserve, l.Memory)
	return l
}

// edge answers where containers reach the proxy. Docker's own address is asked
// for each time: it need not have been there at the start.
func (s *Service) edge(ctx context.Context) (string, error) {
	host, port, err := net.SplitHostPort(s.opts.EdgeAddress)
	switch {
	case err != nil || host != "":
		return s.opts.EdgeAddress, err
	case s.opts.Networks == overlay:
		return net.JoinHostPort(plan.EdgeName, port), nil
	}
	a, err := dockerhost.Gateway(ctx)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(a.String(), port), nil
}

// egress answers where containers find a way out of networks that have none.
func (s *Service) egress() string {
	if s.opts.Networks != overlay || !s.opts.Internet {
		return ""
	}
	if host, port, err := net.SplitHostPort(s.opts.Egress); err == nil && host == "" {
		return net.JoinHostPort(plan.EdgeName, port)
	}
	return s.opts.Egress
}

// Scale implements the RPC.
func (s *Service) Scale(ctx context.Context, req *schedulerpb.ScaleRequest) (*schedulerpb.ScaleResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	id := id(req.GetId())
	if err := id.Check(); err != nil {
		return nil, err
	}
	if err := plan.CheckInstances(int(req.GetInstances())); err != nil {
		return nil, err
	}
	return &schedulerpb.ScaleResponse{}, s.driver.Scale(ctx, id, int(req.GetInstances()))
}

// maxDrain bounds how long a removal may wait for calls.
const maxDrain = time.Hour

// Remove implements the RPC.
func (s *Service) Remove(ctx context.Context, req *schedulerpb.RemoveRequest) (*schedulerpb.RemoveResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	id := id(req.GetId())
	if err := id.Check(); err != nil {
		return nil, err
	}
	return &schedulerpb.RemoveResponse{}, s.driver.Remove(ctx, id, min(time.Duration(req.GetDrain())*time.Millisecond, maxDrain))
}

// List implements the RPC.
func (s *Service) List(ctx context.Context, _ *schedulerpb.ListRequest) (*schedulerpb.ListResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	all, err := s.driver.List()
	return &schedulerpb.ListResponse{Deployments: all}, err
}

// Watch implements the RPC.
func (s *Service) Watch(_ *schedulerpb.WatchRequest, stream schedulerpb.Scheduler_WatchServer) error {
	if err := identity.RequireComponent(stream.Context()); err != nil {
		return err
	}
	return s.driver.Watch(stream.Context(), stream.Send)
}

// Logs implements the RPC.
func (s *Service) Logs(req *schedulerpb.LogsRequest, stream schedulerpb.Scheduler_LogsServer) error {
	if err := identity.RequireComponent(stream.Context()); err != nil {
		return err
	}
	id := id(req.GetId())
	if err := id.Check(); err != nil {
		return err
	}
	return s.driver.Logs(stream.Context(), id, int(req.GetCount()), req.GetFollow(), stream.Send)
}

// Ended implements the RPC.
func (s *Service) Ended(ctx context.Context, req *schedulerpb.EndedRequest) (*schedulerpb.Exit, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	id := id(req.GetId())
	if err := id.Check(); err != nil {
		return nil, err
	}
	return s.driver.End(ctx, id, req.GetContainer())
}

// Containers implements the RPC.
func (s *Service) Containers(ctx context.Context, _ *schedulerpb.ContainersRequest) (*schedulerpb.ContainersResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	all, err := s.driver.Containers()
	return &schedulerpb.ContainersResponse{Containers: all}, err
}

func id(p *schedulerpb.ID) plan.ID {
	return plan.ID{Namespace: p.GetNamespace(), Service: p.GetService(), Version: p.GetVersion(), Revision: p.GetRevision()}
}
