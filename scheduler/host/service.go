package host

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/docker/docker/client"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/dockerhost"
	"github.com/micro/platform/internal/identity"
	hostpb "github.com/micro/platform/proto/host"
	"github.com/micro/platform/scheduler/containers"
	"github.com/micro/platform/scheduler/plan"
)

// Component runs the service. It is by itself on every host: micro server does
// not start it.
var Component = app.New("host", func(_ context.Context, h *app.Host, o Options) error {
	docker, err := dockerhost.New()
	if err != nil {
		return err
	}
	h.OnStop(func(context.Context) { docker.Close() })
	switch {
	case !dockerhost.Local(docker):
		return fmt.Errorf("DOCKER_HOST is %s: host runs on the Docker host itself", docker.DaemonHost())
	case os.Geteuid() != 0:
		return fmt.Errorf("host needs root: it looks into the networks of containers")
	}
	svc := New(docker, h.Platform.ClusterID(), h.Log)
	s, err := h.Server()
	if err != nil {
		return err
	}
	hostpb.RegisterHostServer(s, svc)
	if err := mirrorImages(h, o); err != nil {
		return err
	}
	h.DiskOf("docker", func(ctx context.Context) (string, error) { return dockerhost.Root(ctx, docker) })
	h.Watch("docker", func(ctx context.Context) error {
		_, err := docker.Ping(ctx)
		return err
	})
	h.Watch("networks", svc.edges.behind)
	h.Go("watch", svc.Run)
	h.Go("images", newUnused(docker, h.Platform.ClusterID(), o, h.Log).run)
	return h.Serve(s)
})

// timeout bounds what one call asks of Docker.
const timeout = 10 * time.Second

// Service implements the Host RPCs.
type Service struct {
	hostpb.UnsafeHostServer

	docker     *client.Client
	containers *containers.Docker
	edges      *edges
	names      *names
}

// New makes a Service for the containers of a cluster.
func New(docker *client.Client, cluster string, log *slog.Logger) *Service {
	files := func() (string, error) { return dockerhost.Files(docker) }
	return &Service{
		docker:     docker,
		containers: containers.New(docker, containers.Options{Cluster: cluster, Local: true, Files: files}),
		edges:      newEdges(docker, cluster, log),
		names:      newNames(docker, cluster, files, log),
	}
}

// Run asks containers whether they are ready, has edges that start join networks,
// and services find them, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	defer s.containers.Check(ctx, func() {}).Wait()
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { s.names.watch(ctx) })
	return s.edges.watch(ctx)
}

// begin lets components through and bounds the call.
func (s *Service) begin(ctx context.Context) (context.Context, context.CancelFunc, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	return ctx, cancel, nil
}

// explain turns the error of a Docker that is away into one that says so.
func (s *Service) explain(err error) error {
	var n net.Error
	if client.IsErrConnectionFailed(err) || errors.As(err, &n) || errors.Is(err, io.EOF) {
		return dockerhost.Unreachable(s.docker.DaemonHost(), err)
	}
	return err
}

// Info implements the RPC.
func (s *Service) Info(ctx context.Context, _ *hostpb.InfoRequest) (*hostpb.InfoResponse, error) {
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	info, err := s.docker.Info(ctx)
	if err != nil {
		return nil, s.explain(err)
	}
	runtimes := dockerhost.RuntimesOf(info)
	rsp := &hostpb.InfoResponse{
		Name: info.Name, Docker: info.ServerVersion, Node: info.Swarm.NodeID,
		Runtime: info.DefaultRuntime, Gvisor: runtimes.DefaultIsGVisor(),
	}
	for _, r := range runtimes.GVisor {
		rsp.GvisorRuntimes = append(rsp.GvisorRuntimes, r.Name)
	}
	return rsp, nil
}

// Probe implements the RPC.
func (s *Service) Probe(ctx context.Context, _ *hostpb.ProbeRequest) (*hostpb.ProbeResponse, error) {
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	all, err := s.containers.Probe(ctx)
	return &hostpb.ProbeResponse{Containers: all, Now: time.Now().UnixMicro()}, s.explain(err)
}

// Busy implements the RPC.
func (s *Service) Busy(ctx context.Context, req *hostpb.BusyRequest) (*hostpb.BusyResponse, error) {
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	id := plan.ID{Namespace: req.GetNamespace(), Service: req.GetService(), Version: req.GetVersion(), Revision: req.GetRevision()}
	if err := id.Check(); err != nil {
		return nil, err
	}
	at, err := addresses(req.GetAddresses())
	if err != nil {
		return nil, err
	}
	running, connected, err := s.containers.Busy(ctx, id, at)
	return &hostpb.BusyResponse{Running: int64(running), Connected: connected}, s.explain(err)
}

// maxAddresses bounds how many addresses one call may name.
const maxAddresses = 1000

func addresses(texts []string) ([]netip.Addr, error) {
	if len(texts) > maxAddresses {
		return nil, errors.New(codes.InvalidArgument, "%d addresses are named; there may be %d", len(texts), maxAddresses)
	}
	var out []netip.Addr
	for _, text := range texts {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, errors.New(codes.InvalidArgument, "addresses: %q is none of IP", errors.Clip(text))
		}
		out = append(out, a)
	}
	return out, nil
}

// End implements the RPC.
func (s *Service) End(ctx context.Context, req *hostpb.EndRequest) (*hostpb.EndResponse, error) {
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	rsp, err := s.containers.End(ctx, req.GetContainer())
	return rsp, s.explain(err)
}

// partBytes is how much text a part of a log has at least, but for the last.
const partBytes = 256 << 10

// Log implements the RPC.
func (s *Service) Log(req *hostpb.LogRequest, stream hostpb.Host_LogServer) error {
	ctx, cancel, err := s.begin(stream.Context())
	if err != nil {
		return err
	}
	defer cancel()
	id := plan.ID{Namespace: req.GetNamespace(), Service: req.GetService(), Version: req.GetVersion(), Revision: req.GetRevision()}
	if err := id.Check(); err != nil {
		return err
	}
	lines, found, err := s.containers.Log(ctx, id, int(req.GetCount()))
	if err != nil {
		return s.explain(err)
	}
	if err := stream.Send(&hostpb.LogResponse{Containers: int64(found)}); err != nil {
		return err
	}
	part, size := &hostpb.LogResponse{}, 0
	for i, l := range lines {
		part.Lines = append(part.Lines, &hostpb.LogLine{At: l.Time.UnixNano(), Container: l.Container, Text: []byte(l.Text)})
		if size += len(l.Text); size < partBytes && i < len(lines)-1 {
			continue
		}
		if err := stream.Send(part); err != nil {
			return err
		}
		part, size = &hostpb.LogResponse{}, 0
	}
	return nil
}

// maxNetworks bounds how many networks one call may name.
const maxNetworks = 10_000

// Join implements the RPC.
func (s *Service) Join(ctx context.Context, req *hostpb.JoinRequest) (*hostpb.JoinResponse, error) {
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	if n := len(req.GetNetworks()) + len(req.GetLeave()); n > maxNetworks {
		return nil, errors.New(codes.InvalidArgument, "%d networks are named; there may be %d", n, maxNetworks)
	}
	return &hostpb.JoinResponse{}, s.explain(s.edges.join(ctx, req.GetNetworks(), req.GetLeave()))
}
