package swarm

import (
	"context"
	"io"
	"net"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/client"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/dockerhost"
	"github.com/micro/platform/internal/pause"
)

// Engine is what of Docker's Engine API the scheduler needs.
type Engine interface {
	ContainerInspect(ctx context.Context, id string) (container.InspectResponse, error)
	ContainerList(ctx context.Context, o container.ListOptions) ([]container.Summary, error)
	ContainerLogs(ctx context.Context, id string, o container.LogsOptions) (io.ReadCloser, error)
	DaemonHost() string
	Events(ctx context.Context, o events.ListOptions) (<-chan events.Message, <-chan error)
	Info(ctx context.Context) (system.Info, error)
	NetworkCreate(ctx context.Context, name string, o network.CreateOptions) (network.CreateResponse, error)
	NetworkList(ctx context.Context, o network.ListOptions) ([]network.Summary, error)
	NetworkRemove(ctx context.Context, id string) error
	NodeList(ctx context.Context, o swarm.NodeListOptions) ([]swarm.Node, error)
	NodeUpdate(ctx context.Context, id string, v swarm.Version, n swarm.NodeSpec) error
	ServiceCreate(ctx context.Context, s swarm.ServiceSpec, o swarm.ServiceCreateOptions) (swarm.ServiceCreateResponse, error)
	ServiceInspectWithRaw(ctx context.Context, id string, o swarm.ServiceInspectOptions) (swarm.Service, []byte, error)
	ServiceList(ctx context.Context, o swarm.ServiceListOptions) ([]swarm.Service, error)
	ServiceLogs(ctx context.Context, id string, o container.LogsOptions) (io.ReadCloser, error)
	ServiceRemove(ctx context.Context, id string) error
	ServiceUpdate(ctx context.Context, id string, v swarm.Version, s swarm.ServiceSpec, o swarm.ServiceUpdateOptions) (swarm.ServiceUpdateResponse, error)
	SwarmInit(ctx context.Context, req swarm.InitRequest) (string, error)
	TaskList(ctx context.Context, o swarm.TaskListOptions) ([]swarm.Task, error)
}

var _ Engine = (*client.Client)(nil)

// callTimeout bounds one call of the Engine API. All are answered from what
// Docker has in memory, in milliseconds.
const callTimeout = 10 * time.Second

// explain turns the errors of a Docker that is away into one that a person can
// act on. Others are private and stay as they are.
func (d *Driver) explain(err error) error {
	if err == nil || !away(err) {
		return err
	}
	return dockerhost.Unreachable(d.engine.DaemonHost(), err)
}

// electionPoll is the wait before a change is tried again that found no leader.
const electionPoll = 300 * time.Millisecond

// steady makes a change again, until ctx ends, while the managers of the swarm
// elect a leader: they refuse it then, and nothing of it is done.
func steady(ctx context.Context, change func() error) error {
	for {
		err := change()
		if err == nil || !leaderless(err) || pause.For(ctx, electionPoll) != nil {
			return err
		}
	}
}

// leaderless says whether an error is that of a swarm between two leaders. Docker
// has no code of its own for it.
func leaderless(err error) bool {
	return strings.Contains(err.Error(), "swarm does not have a leader") || strings.Contains(err.Error(), "lost leader status")
}

// away says whether an error is about the way to Docker, not from Docker.
func away(err error) bool {
	var n net.Error
	return client.IsErrConnectionFailed(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.As(err, &n) || errdefs.IsUnavailable(err) || leaderless(err)
}

func isGone(err error) bool { return errdefs.IsNotFound(err) }
