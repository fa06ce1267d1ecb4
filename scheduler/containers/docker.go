package containers

import (
	"context"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/framework/errors"
	hostpb "github.com/micro/platform/proto/host"
	"github.com/micro/platform/scheduler/plan"
)

// Engine is what of Docker's Engine API it takes to look at containers.
type Engine interface {
	ContainerInspect(ctx context.Context, id string) (container.InspectResponse, error)
	ContainerList(ctx context.Context, o container.ListOptions) ([]container.Summary, error)
	ContainerLogs(ctx context.Context, id string, o container.LogsOptions) (io.ReadCloser, error)
}

// Options are a Docker's settings.
type Options struct {
	Cluster string // whose containers these are
	// Local says that they run on this machine: their processes can be looked at.
	Local bool
	// Files answers where Docker's files are. It is given where this machine has no
	// way to their networks, overlays: it connects to them from where Docker keeps
	// those, which takes root.
	Files func() (string, error)
}

// Docker looks at the containers of services of one Docker.
type Docker struct {
	engine Engine
	opts   Options
	asked  chan *asking // containers that are to be asked whether they are ready

	mu   sync.Mutex // held while it is looked
	seen map[string]*seen
}

// New makes a Docker. Check asks its containers whether they are ready.
func New(engine Engine, o Options) *Docker {
	return &Docker{engine: engine, opts: o, asked: make(chan *asking, maxAsking), seen: map[string]*seen{}}
}

// seen is what was found out about a container. Messages are replaced, never
// changed: others have them.
type seen struct {
	is  *hostpb.Container
	met bool // it has started, or tried to
	pid int
	// network is the pattern of the file of its overlay's namespace, as Docker
	// names it.
	network string
	other   time.Time // since when it listens on another port than plan.Port
	asking  *asking   // the last question for its health, nil before the first
}

// Probe answers what became of the containers of services. What was found out of
// some before ctx has ended is kept, so that the next look gets further.
func (d *Docker) Probe(ctx context.Context) ([]*hostpb.Container, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	found, err := d.list(ctx, nil, true)
	if err != nil {
		return nil, err
	}
	there := map[string]*seen{}
	var out []*hostpb.Container
	for _, c := range found {
		s, err := d.look(ctx, c)
		if err != nil {
			maps.Copy(d.seen, there)
			return nil, err
		}
		if s != nil {
			there[c.ID] = s
			out = append(out, s.is)
		}
	}
	d.seen = there
	return out, nil
}

// Running answers the IDs of the containers of services that run.
func (d *Docker) Running(ctx context.Context) ([]string, error) {
	found, err := d.list(ctx, nil, false)
	var out []string
	for _, c := range found {
		out = append(out, c.ID)
	}
	return out, err
}

// list lists the containers with those labels, those that run or all.
func (d *Docker) list(ctx context.Context, labels map[string]string, all bool) ([]container.Summary, error) {
	f := filters.NewArgs(filters.Arg("label", plan.LabelCluster+"="+d.opts.Cluster), filters.Arg("label", plan.LabelPart+"="+plan.Part))
	for k, v := range labels {
		f.Add("label", k+"="+v)
	}
	found, err := d.engine.ContainerList(ctx, container.ListOptions{All: all, Filters: f})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	return found, nil
}

// look answers what is known of a container, and finds out what is not. It is nil
// for one that is gone.
func (d *Docker) look(ctx context.Context, c container.Summary) (*seen, error) {
	s, runs := d.seen[c.ID], c.State == container.StateRunning
	switch {
	case c.State == container.StateCreated:
		return &seen{is: identify(c)}, nil
	case s != nil && s.met && s.is.GetRunning() == runs:
	default:
		var err error
		if s, err = d.meet(ctx, c); s == nil {
			return nil, err
		}
	}
	if s.is.GetRunning() {
		d.probe(s)
	}
	return s, nil
}

// LabelTask is the label that Docker gives to the containers of a swarm.
const LabelTask = "com.docker.swarm.task.id"

// identify answers what the labels of a container say.
func identify(c container.Summary) *hostpb.Container {
	id, _ := plan.FromLabels(c.Labels)
	return &hostpb.Container{
		Id: c.ID, Task: c.Labels[LabelTask], Namespace: c.Labels[plan.LabelNamespace],
		Service: id.Service, Version: id.Version, Revision: id.Revision,
	}
}

// meet inspects a container that has started or ended since it was looked at.
func (d *Docker) meet(ctx context.Context, c container.Summary) (*seen, error) {
	info, err := d.inspect(ctx, c.ID)
	if info == nil || err != nil {
		return nil, err
	}
	s := &seen{is: identify(c), met: true, pid: info.State.Pid}
	s.is.Running = info.State.Running
	if started, ok := moment(info.State.StartedAt); ok {
		s.is.Started = started
		if ended, ok := moment(info.State.FinishedAt); ok && !info.State.Running && ended >= started {
			s.is.Ended = ended
		}
	}
	s.is.Millicores, s.is.Memory = info.HostConfig.NanoCPUs/1e6, info.HostConfig.Memory
	if info.NetworkSettings != nil {
		for _, n := range info.NetworkSettings.Networks {
			s.is.Ip = n.IPAddress // it is on one network only
			s.network = sandboxPattern(info.NetworkSettings.SandboxKey, n.NetworkID)
		}
	}
	if s.is.GetIp() == "" { // Docker takes it away at the end
		s.is.Ip = d.seen[c.ID].ip()
	}
	return s, nil
}

// sandboxPattern is what Docker calls the namespace of an overlay that a container
// is on: beside the container's own, after the first ten characters of its ID.
func sandboxPattern(container, network string) string {
	return filepath.Join(filepath.Dir(container), "*-"+network[:min(10, len(network))])
}

func (s *seen) ip() string {
	if s == nil {
		return ""
	}
	return s.is.GetIp()
}

// moment reads a time of Docker's, which has the year 1 for never.
func moment(text string) (micros int64, ok bool) {
	t, err := time.Parse(time.RFC3339Nano, text)
	return t.UnixMicro(), err == nil && t.Year() >= 2000
}

// inspect answers what Docker has of a container, nil when it is gone.
func (d *Docker) inspect(ctx context.Context, id string) (*container.InspectResponse, error) {
	info, err := d.engine.ContainerInspect(ctx, id)
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("inspect container %s: %w", id, err)
	}
	if info.ContainerJSONBase == nil || info.State == nil || info.HostConfig == nil {
		return nil, nil
	}
	return &info, nil
}

// End says how a container has ended.
func (d *Docker) End(ctx context.Context, id string) (*hostpb.EndResponse, error) {
	info, err := d.inspect(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case info == nil || info.Config == nil || info.Config.Labels[plan.LabelCluster] != d.opts.Cluster || info.Config.Labels[plan.LabelPart] != plan.Part:
		return nil, errors.New(codes.NotFound, "no container %q of a service", errors.Clip(id))
	}
	rsp := &hostpb.EndResponse{
		ExitCode: int64(info.State.ExitCode), OutOfMemory: info.State.OOMKilled, Memory: info.HostConfig.Memory, Error: info.State.Error,
	}
	rsp.Lines, err = d.tail(ctx, id)
	return rsp, err
}

// change replaces what others have of a container.
func (s *seen) change(f func(*hostpb.Container)) {
	s.is = proto.CloneOf(s.is)
	f(s.is)
}
