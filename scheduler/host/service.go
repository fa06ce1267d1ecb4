package host

import (
	"context"
	"fmt"

	"github.com/docker/docker/api/types/system"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/dockerhost"
	"github.com/micro/platform/internal/identity"
	hostpb "github.com/micro/platform/proto/host"
)

// Component runs the service. It is by itself on every host: micro server does
// not start it.
var Component = app.New("host", func(_ context.Context, h *app.Host, o Options) error {
	docker, err := dockerhost.New()
	if err != nil {
		return err
	}
	h.OnStop(func(context.Context) { docker.Close() })
	if !dockerhost.Local(docker) {
		return fmt.Errorf("DOCKER_HOST is %s: host runs on the Docker host itself", docker.DaemonHost())
	}
	s, err := h.Server()
	if err != nil {
		return err
	}
	hostpb.RegisterHostServer(s, New(docker))
	if err := mirrorImages(h, o); err != nil {
		return err
	}
	return h.Serve(s)
})

// Engine is what of Docker's Engine API a host needs.
type Engine interface {
	DaemonHost() string
	Info(ctx context.Context) (system.Info, error)
}

// Service implements the Host RPCs.
type Service struct {
	hostpb.UnimplementedHostServer

	engine Engine
}

// New makes a Service.
func New(engine Engine) *Service { return &Service{engine: engine} }

// Info implements the RPC.
func (s *Service) Info(ctx context.Context, _ *hostpb.InfoRequest) (*hostpb.InfoResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	info, err := s.engine.Info(ctx)
	if err != nil {
		return nil, dockerhost.Unreachable(s.engine.DaemonHost(), err)
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
