package swarm

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/system"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/pause"
	hostpb "github.com/micro/platform/proto/host"
	schedulerpb "github.com/micro/platform/proto/scheduler"
	"github.com/micro/platform/scheduler/containers"
	"github.com/micro/platform/scheduler/plan"
)

// Options are a Driver's settings.
type Options struct {
	Cluster string        // whose deployments these are
	Subnets netip.Prefix  // the namespaces' networks are cut out of it
	Start   time.Duration // how long a container may take until its port answers
	// Local says that Docker's containers run on this machine: their processes
	// can be looked at.
	Local bool
	// Dial connects to the component host at the address of a node, without a
	// port. With it there are several hosts, and networks go over all of them;
	// without it this is the only one.
	Dial func(address string) (*grpc.ClientConn, error)
}

// Driver runs deployments on the hosts of one swarm.
type Driver struct {
	engine Engine
	hosts  *hosts
	local  *containers.Docker // nil where there are several hosts
	opts   Options
	log    *slog.Logger
	now    func() time.Time
	hub    *hub
	wake   chan struct{} // holds one when there is something to look at
	empty  chan struct{} // holds one when there may be networks to remove
	proven chan struct{} // holds one when a service runs for the first time
	guard  func(context.Context) error
	ends   *ends
	spans  *spans

	changes sync.Mutex // held while services and networks are made or removed

	// The rest is the observing goroutine's own.
	running map[string]*hostpb.Container // by container
	endings map[string]ending            // by task
	ages    *ages
}

// New makes a Driver. Run makes it look at Docker.
func New(engine Engine, o Options, log *slog.Logger) *Driver {
	d := &Driver{
		engine: engine, opts: o, log: log, now: time.Now, hub: newHub(), wake: make(chan struct{}, 1), empty: make(chan struct{}, 1), proven: make(chan struct{}, 1),
		ends:    &ends{of: map[place]time.Time{}, wake: make(chan struct{}, 1)},
		ages:    &ages{since: map[string]time.Duration{}, asked: map[string]bool{}},
		running: map[string]*hostpb.Container{}, endings: map[string]ending{}, spans: &spans{of: map[string]*schedulerpb.Container{}},
	}
	if o.Dial == nil {
		d.local = containers.New(engine, containers.Options{Cluster: o.Cluster, Local: o.Local})
	}
	d.hosts = newHosts(d.local, o.Dial)
	return d
}

// Close closes the connections to other hosts.
func (d *Driver) Close() { d.hosts.close() }

// Guard has f called before anything runs in a new network. It is set before
// the first call of Apply.
func (d *Driver) Guard(f func(context.Context) error) { d.guard = f }

// Info answers what Docker says of its host.
func (d *Driver) Info(ctx context.Context) (system.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	info, err := d.engine.Info(ctx)
	return info, d.explain(err)
}

// tries is how often a change is tried that another one came in between of.
const tries = 4

// Apply makes a service exist as planned. Where it does already, nothing
// happens, unless Docker has given up an instance: that is tried again.
func (d *Driver) Apply(ctx context.Context, s plan.Service) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	d.changes.Lock()
	defer d.changes.Unlock()
	defer d.look()
	for try := 1; ; try++ {
		err := steady(ctx, func() error { return d.apply(ctx, s) })
		if err == nil || try == tries || !outdated(err) {
			return d.explain(err)
		}
	}
}

// outdated says whether an error may be gone at the next try: another process
// was faster.
func outdated(err error) bool {
	return errdefs.IsConflict(err) || errdefs.IsAlreadyExists(err) || errdefs.IsNotFound(err) ||
		errors.Code(err) == codes.Aborted
}

func (d *Driver) apply(ctx context.Context, s plan.Service) error {
	want := spec(s)
	is, _, err := d.engine.ServiceInspectWithRaw(ctx, s.Name, swarm.ServiceInspectOptions{})
	switch {
	case isGone(err):
		if err := d.ensureNetwork(ctx, s.ID.Namespace); err != nil {
			return err
		}
		if _, err := d.engine.ServiceCreate(ctx, want, swarm.ServiceCreateOptions{}); err != nil {
			return fmt.Errorf("create service %s: %w", s.Name, err)
		}
		return nil
	case err != nil:
		return fmt.Errorf("inspect service %s: %w", s.Name, err)
	}
	tasks, err := d.tasksOf(ctx, is)
	if err != nil {
		return err
	}
	if is.Spec.Labels[plan.LabelHash] == s.Hash {
		if abandoned(tasks) {
			err = d.refill(ctx, is, tasks)
		}
		return changed(s, err)
	}
	for _, label := range []string{labelProven, labelAgain} {
		if value := is.Spec.Labels[label]; value != "" {
			want.Labels[label] = value
		}
	}
	want.TaskTemplate.ForceUpdate = is.Spec.TaskTemplate.ForceUpdate // another one replaces all containers
	_, err = d.engine.ServiceUpdate(ctx, is.ID, is.Version, want, swarm.ServiceUpdateOptions{})
	return changed(s, err)
}

// changed explains why a service could not be changed. Docker has no code of its
// own for a version that is outdated.
func changed(s plan.Service, err error) error {
	if err == nil || leaderless(err) {
		return err
	}
	return errors.New(codes.Aborted, "%s was changed at the same time, try again", s.ID).Because(err)
}

// tasksOf answers the tasks of a service, oldest first.
func (d *Driver) tasksOf(ctx context.Context, s swarm.Service) ([]swarm.Task, error) {
	tasks, err := d.engine.TaskList(ctx, swarm.TaskListOptions{Filters: filters.NewArgs(filters.Arg("service", s.ID))})
	if err != nil {
		return nil, fmt.Errorf("list tasks of %s: %w", s.Spec.Name, err)
	}
	slices.SortFunc(tasks, func(a, b swarm.Task) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return tasks, nil
}

// Scale changes how many containers a deployment has. Those that stay are left
// alone.
func (d *Driver) Scale(ctx context.Context, id plan.ID, instances int) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	d.changes.Lock()
	defer d.changes.Unlock()
	defer d.look()
	return d.explain(steady(ctx, func() error { return d.scale(ctx, id, instances) }))
}

func (d *Driver) scale(ctx context.Context, id plan.ID, instances int) error {
	is, _, err := d.engine.ServiceInspectWithRaw(ctx, plan.Name(d.opts.Cluster, id), swarm.ServiceInspectOptions{})
	if isGone(err) {
		return errors.New(codes.NotFound, "%s is not deployed", id)
	}
	if err != nil {
		return fmt.Errorf("inspect service of %s: %w", id, err)
	}
	if replicas(is) == instances {
		return nil
	}
	n := uint64(instances)
	is.Spec.Mode = swarm.ServiceMode{Replicated: &swarm.ReplicatedService{Replicas: &n}}
	if _, err := d.engine.ServiceUpdate(ctx, is.ID, is.Version, is.Spec, swarm.ServiceUpdateOptions{}); err != nil {
		return fmt.Errorf("scale %s: %w", id, err)
	}
	return nil
}

// It is looked after stopPoll, and then less and less often, whether calls and
// containers have ended: Linux goes through all its places for connections to tell
// those of a container, 6 ms of a processor where it has 262,144 of them.
const (
	stopPoll     = 200 * time.Millisecond
	stopPollLast = time.Second
)

// Remove stops a deployment and waits until its containers have ended. Docker
// needs some seconds more to let go of them; then the namespace's network goes
// too, if nothing uses it any more.
//
// Until drain is over or nobody is connected to them any more, containers do not
// hear of it.
func (d *Driver) Remove(ctx context.Context, id plan.ID, drain time.Duration) error {
	if err := d.drain(ctx, id, drain); err != nil {
		return d.explain(err)
	}
	ctx, cancel := context.WithTimeout(ctx, grace+callTimeout)
	defer cancel()
	defer d.look()
	err := steady(ctx, func() error { return d.engine.ServiceRemove(ctx, plan.Name(d.opts.Cluster, id)) })
	if err != nil && !isGone(err) {
		return d.explain(fmt.Errorf("remove service of %s: %w", id, err))
	}
	d.look()
	if err := d.stopped(ctx, id); err != nil {
		return d.explain(err)
	}
	nudge(d.empty)
	return nil
}

// stopped waits until no container of a deployment runs.
func (d *Driver) stopped(ctx context.Context, id plan.ID) error {
	for wait := stopPoll; ; wait = min(2*wait, stopPollLast) {
		left, _, err := d.hosts.busy(ctx, id)
		if err != nil || left == 0 {
			return err
		}
		if pause.For(ctx, wait) != nil {
			return errors.New(codes.DeadlineExceeded, "%d containers of %s are still stopping", left, id)
		}
	}
}

// left answers how many containers of a namespace there are, in any state.
func (d *Driver) left(ctx context.Context, namespace string) (n int, err error) {
	found, err := d.hosts.probe(ctx)
	for _, c := range found {
		if c.GetNamespace() == namespace {
			n++
		}
	}
	return n, err
}

// having selects what this cluster's scheduler made, with those labels too.
func (d *Driver) having(labels map[string]string) filters.Args {
	f := filters.NewArgs(filters.Arg("label", plan.LabelCluster+"="+d.opts.Cluster), filters.Arg("label", plan.LabelPart+"="+plan.Part))
	for k, v := range labels {
		f.Add("label", k+"="+v)
	}
	return f
}

// look makes the observer look at Docker now.
func (d *Driver) look() { nudge(d.wake) }

// nudge fills a channel of one.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// List answers the state of every deployment.
func (d *Driver) List() ([]*schedulerpb.Status, error) {
	all, known, err := d.hub.list()
	if err == nil && !known {
		err = errors.New(codes.Unavailable, "Docker was not looked at yet, try again")
	}
	return all, err
}

// Away says why Docker cannot be looked at now, or was not yet.
func (d *Driver) Away() error {
	_, err := d.List()
	return err
}

// Watch sends the state of every deployment, a Status with ready set, and then
// each change, the latest where there are several.
func (d *Driver) Watch(ctx context.Context, send func(*schedulerpb.Status) error) error {
	return d.hub.watch(ctx, send)
}
