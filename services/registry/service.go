package registry

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pause"
	"github.com/micro/platform/internal/reserved"
	"github.com/micro/platform/internal/rpc"
	registrypb "github.com/micro/platform/proto/registry"
	runtimepb "github.com/micro/platform/proto/runtime"
)

// Options come from MICRO_REGISTRY_*.
type Options struct {
	Sweep       time.Duration `env:"SWEEP"        default:"1s"  help:"time between two looks for nodes whose time is up"`
	MaxVersions int           `env:"MAX_VERSIONS" default:"500" help:"services and versions that one namespace may have"`
}

// Component runs the service, alone or beside the others.
var Component = app.New("registry", func(ctx context.Context, h *app.Host, o Options) error {
	pool, err := h.DB(ctx)
	if err != nil {
		return err
	}
	s, err := h.Server()
	if err != nil {
		return err
	}
	runtime, err := h.Conn("runtime")
	if err != nil {
		return err
	}
	svc := New(pool, runtimepb.NewRuntimeClient(runtime), h.Log, o)
	if err := svc.db.forgive(ctx); err != nil {
		return err
	}
	registrypb.RegisterRegistryServer(s, svc)
	registrypb.RegisterNodesServer(s, svc)
	registrypb.RegisterComponentsServer(s, components{Service: svc})
	h.Go("listen", svc.hub.run)
	h.Go("sweep", svc.sweepLoop)
	return h.Serve(s)
})

// Service implements the Registry and Nodes RPCs.
type Service struct {
	registrypb.UnsafeRegistryServer
	registrypb.UnsafeNodesServer

	db      db
	runtime runtimepb.RuntimeClient
	hub     *hub
	core    core
	log     *slog.Logger
	opts    Options
}

// New makes a Service. Watch needs its hub running, and expiry its sweeper.
func New(pool *pgxpool.Pool, runtime runtimepb.RuntimeClient, log *slog.Logger, o Options) *Service {
	d := db{pool}
	return &Service{db: d, runtime: runtime, hub: newHub(d, log), core: newCore(), log: log, opts: o}
}

// everything is the domain that stands for all namespaces.
const everything = "*"

// maxListed bounds an answer, in versions.
const maxListed = 1000

// Register implements Registry.
func (s *Service) Register(ctx context.Context, req *registrypb.Service) (*registrypb.EmptyResponse, error) {
	ns, err := identity.Admin(ctx, req.GetOptions().GetDomain())
	if err != nil {
		return nil, err
	}
	if ns == everything {
		return nil, invalid("domain %q: name one namespace", everything)
	}
	caller, _ := identity.From(ctx)
	req = proto.CloneOf(req)
	if err := checkRegistration(req); err != nil {
		return nil, err
	}
	if reserved.Name(req.GetName()) && !caller.IsComponent() {
		return nil, errors.New(codes.PermissionDenied, "service name %q is the platform's own, choose another", req.GetName())
	}
	for _, n := range req.GetNodes() {
		if err := settleAddress(n, trusted(ctx, caller, ns)); err != nil {
			return nil, err
		}
	}
	r, err := s.registration(caller, ns, req)
	if err != nil {
		return nil, err
	}
	renewed, err := s.db.renew(ctx, r)
	if err != nil || renewed {
		return &registrypb.EmptyResponse{}, err
	}
	if err := s.checkUndeployed(ctx, r); err != nil {
		return nil, err
	}
	return &registrypb.EmptyResponse{}, s.db.register(ctx, r, s.opts.MaxVersions)
}

// registration writes onto the nodes whose they are. The platform may register
// a node in the name of the account that it runs under.
func (s *Service) registration(caller identity.Caller, ns string, req *registrypb.Service) (registration, error) {
	account := caller.ID
	if named := req.GetNodes()[0].GetMetadata()["account"]; caller.IsComponent() && named != "" {
		account = named
	}
	for _, n := range req.GetNodes() {
		n.Metadata = orEmpty(n.GetMetadata())
		n.Metadata["account"] = account
		if caller.IsComponent() {
			continue
		}
		delete(n.Metadata, "revision")
		if revision := caller.Metadata["revision"]; revision != "" {
			n.Metadata["revision"] = revision
		}
	}
	ttl := lifetime(req.GetOptions().GetTtl(), caller.IsComponent())
	return newRegistration(ns, holder{account, deployedAs(caller, req)}, ttl, req)
}

func trusted(ctx context.Context, caller identity.Caller, ns string) trust {
	t := trust{any: caller.IsComponent(), loopback: caller.Namespace == identity.Platform && ns == identity.Platform, container: caller.Deployed()}
	if a, err := netip.ParseAddr(rpc.OriginOf(ctx).Address); err == nil {
		t.observed = a
	}
	return t
}

// Deregister implements Registry.
func (s *Service) Deregister(ctx context.Context, req *registrypb.Service) (*registrypb.EmptyResponse, error) {
	ns, err := identity.Admin(ctx, req.GetOptions().GetDomain())
	if err != nil {
		return nil, err
	}
	req = proto.CloneOf(req)
	if err := checkName(req); err != nil {
		return nil, err
	}
	if n := len(req.GetNodes()); n > maxNodes {
		return nil, invalid("at most %d nodes at once, got %d", maxNodes, n)
	}
	var ids []string
	for _, n := range req.GetNodes() {
		if printable(n.GetId()) { // others were never registered
			ids = append(ids, n.GetId())
		}
	}
	only := "" // of admins' it is whatever they name
	if caller, _ := identity.From(ctx); caller.Deployed() {
		only = caller.ID
	}
	if err := s.db.deregister(ctx, key{ns, req.GetName(), req.GetVersion()}, only, ids); err != nil {
		return nil, err
	}
	return &registrypb.EmptyResponse{}, nil
}

// GetService implements Registry. The platform's services are in every
// namespace, since no tenant can have one of that name.
func (s *Service) GetService(ctx context.Context, req *registrypb.GetRequest) (*registrypb.GetResponse, error) {
	ns, err := identity.Member(ctx, req.GetOptions().GetDomain())
	if err != nil {
		return nil, err
	}
	if own, ok := s.core.get(req.GetService()); ok {
		return &registrypb.GetResponse{Services: []*registrypb.Service{own}}, nil
	}
	if !nameRule.MatchString(req.GetService()) {
		return nil, errors.New(codes.NotFound, "service not found")
	}
	found, err := s.db.get(ctx, ns, req.GetService())
	if err != nil {
		return nil, err
	}
	services, err := toServices(found)
	if err != nil {
		return nil, err
	}
	if len(services) == 0 {
		return nil, errors.New(codes.NotFound, "service not found")
	}
	return &registrypb.GetResponse{Services: services}, nil
}

// ListServices implements Registry. The platform's services are listed in
// domain "micro", whoever asks.
func (s *Service) ListServices(ctx context.Context, req *registrypb.ListRequest) (*registrypb.ListResponse, error) {
	domain := req.GetOptions().GetDomain()
	ns, err := identity.Member(ctx, domain)
	if err != nil {
		return nil, err
	}
	if ns == everything {
		return nil, invalid("domain %q is too much for one answer: watch it, or name a namespace", everything)
	}
	found, err := s.db.list(ctx, ns)
	if err != nil {
		return nil, err
	}
	services, err := toServices(found)
	if err != nil {
		return nil, err
	}
	if ns == identity.Platform || domain == identity.Platform {
		services = append(services, s.core.list()...)
	}
	return &registrypb.ListResponse{Services: services}, nil
}

// List implements Nodes.
func (s *Service) List(ctx context.Context, req *registrypb.NodesRequest) (*registrypb.ListResponse, error) {
	if err := checkNodes(ctx, req); err != nil {
		return nil, err
	}
	found, err := s.db.byAccount(ctx, req.GetDomain(), req.GetAccount())
	if err != nil {
		return nil, err
	}
	services, err := toServices(found)
	if err != nil {
		return nil, err
	}
	out := services[:0]
	for _, v := range services {
		v.Nodes = slices.DeleteFunc(v.GetNodes(), func(n *registrypb.Node) bool { return n.GetMetadata()["account"] != req.GetAccount() })
		if len(v.GetNodes()) > 0 {
			out = append(out, v)
		}
	}
	return &registrypb.ListResponse{Services: out}, nil
}

// Evict implements Nodes.
func (s *Service) Evict(ctx context.Context, req *registrypb.NodesRequest) (*registrypb.EmptyResponse, error) {
	if err := checkNodes(ctx, req); err != nil {
		return nil, err
	}
	if err := s.db.evict(ctx, req.GetDomain(), req.GetAccount()); err != nil {
		return nil, err
	}
	return &registrypb.EmptyResponse{}, nil
}

// End implements Nodes.
func (s *Service) End(ctx context.Context, req *registrypb.EndRequest) (*registrypb.EmptyResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	if a, err := netip.ParseAddr(req.GetHost()); err != nil || !a.Is4() || req.GetDomain() == "" || req.GetAt() <= 0 && req.GetAgo() <= 0 {
		return nil, invalid("domain, host (IPv4) and at or ago are all wanted")
	}
	if err := s.db.end(ctx, req.GetDomain(), req.GetHost(), time.UnixMilli(req.GetAt()), time.Duration(req.GetAgo())*time.Millisecond); err != nil {
		return nil, err
	}
	return &registrypb.EmptyResponse{}, nil
}

func checkNodes(ctx context.Context, req *registrypb.NodesRequest) error {
	if err := identity.RequireComponent(ctx); err != nil {
		return err
	}
	if req.GetDomain() == "" || req.GetAccount() == "" {
		return invalid("domain and account are both wanted")
	}
	return nil
}

// toServices leaves out versions whose nodes have all ended and not been swept.
func toServices(found []entry) ([]*registrypb.Service, error) {
	services := make([]*registrypb.Service, 0, len(found))
	for _, e := range found {
		if len(e.Nodes) == 0 {
			continue
		}
		v, err := toService(e)
		if err != nil {
			return nil, err
		}
		services = append(services, v)
	}
	return services, nil
}

func toService(e entry) (*registrypb.Service, error) {
	v := &registrypb.Service{}
	if err := proto.Unmarshal(e.Endpoints, v); err != nil {
		return nil, fmt.Errorf("decode endpoints of %s: %w", e.Service, err)
	}
	v.Name, v.Version, v.Metadata = e.Service, e.Version, orEmpty(e.Metadata)
	v.Metadata["domain"] = e.Namespace
	v.Options = &registrypb.Options{Domain: e.Namespace}
	for _, n := range e.Nodes {
		v.Nodes = append(v.Nodes, &registrypb.Node{Id: n.ID, Address: n.Address, Port: n.Port, Metadata: n.Metadata})
	}
	return v, nil
}

// evictionAge is how long an evicted account stays refused. Its credentials end
// long before.
const evictionAge = 24 * time.Hour

// sweepLoop ends what was not renewed. A pass that fails is made up for by the
// next.
func (s *Service) sweepLoop(ctx context.Context) error {
	for range pause.Ticks(ctx, s.opts.Sweep) {
		if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "expired nodes were not swept", "error", err)
		}
	}
	return nil
}

func (s *Service) sweep(ctx context.Context) error {
	for {
		n, err := s.db.sweep(ctx)
		if err != nil {
			return err
		}
		if n < sweepBatch {
			return s.db.forgetEvictions(ctx, evictionAge)
		}
	}
}
