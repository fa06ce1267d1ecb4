package swarm

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/swarm"

	hostpb "github.com/micro/platform/proto/host"
	schedulerpb "github.com/micro/platform/proto/scheduler"
	"github.com/micro/platform/scheduler/health"
	"github.com/micro/platform/scheduler/plan"
)

// verdict is the state of a deployment, made of those of its instances.
type verdict struct {
	want    int // instances
	ready   []*schedulerpb.Instance
	started bool   // a container was started at least once
	failed  bool   // an instance will not come without help
	silent  bool   // though it runs
	noImage bool   // a host does not have the image
	reason  string // of that, or of what is being waited for
	// exits are those of instances that others stand in for: somebody may want to
	// know of them while all is well again.
	exits []*schedulerpb.Exit
}

// maxExits is how many ends of a deployment's containers are told of.
const maxExits = 5

func (v verdict) running() bool { return v.want > 0 && len(v.ready) >= v.want }

// settled says whether nothing is on its way.
func (v verdict) settled() bool { return v.failed || v.running() }

func (v verdict) status(id plan.ID) *schedulerpb.Status {
	s := &schedulerpb.Status{
		Id:    &schedulerpb.ID{Namespace: id.Namespace, Service: id.Service, Version: id.Version, Revision: id.Revision},
		State: schedulerpb.Status_PENDING, Reason: v.reason, Instances: v.ready, Wanted: int64(v.want), LastExit: v.lastExit(), Exits: v.exits,
	}
	switch {
	case v.running():
		s.State, s.Reason = schedulerpb.Status_RUNNING, ""
	case v.failed:
		s.State, s.ImageGone = schedulerpb.Status_FAILED, v.noImage
	case v.started:
		s.State = schedulerpb.Status_STARTING
	}
	return s
}

// judge looks at the tasks of a service. Those of a slot come one after the
// other in the place of one instance: the newest counts, and the one before
// still serves while that starts.
func (d *Driver) judge(ctx context.Context, s swarm.Service, w world) verdict {
	v := verdict{want: replicas(s)}
	slots := map[int][]swarm.Task{}
	for _, t := range w.tasks[s.ID] {
		slots[t.Slot] = append(slots[t.Slot], t)
	}
	for _, tasks := range slots {
		before := len(v.ready)
		for _, t := range tasks {
			d.serving(&v, t, w.containers[t.ID])
		}
		if len(v.ready) == before {
			d.missing(ctx, &v, s, tasks)
		}
		d.noteExits(ctx, &v, tasks)
	}
	slices.SortFunc(v.exits, func(a, b *schedulerpb.Exit) int {
		return cmp.Or(cmp.Compare(a.GetAt(), b.GetAt()), cmp.Compare(a.GetContainer(), b.GetContainer()))
	})
	v.exits = v.exits[max(0, len(v.exits)-maxExits):]
	// In an order that stays, so that nothing seems to change.
	slices.SortFunc(v.ready, func(a, b *schedulerpb.Instance) int { return cmp.Compare(a.GetContainer(), b.GetContainer()) })
	return v
}

func replicas(s swarm.Service) int {
	if r := s.Spec.Mode.Replicated; r != nil && r.Replicas != nil {
		return int(*r.Replicas)
	}
	return 0
}

// serving counts a task whose container runs and answers.
func (d *Driver) serving(v *verdict, t swarm.Task, c *hostpb.Container) {
	if !c.GetRunning() || t.DesiredState != swarm.TaskStateRunning {
		return
	}
	v.started = true
	switch {
	case c.GetPort() != 0:
		address := net.JoinHostPort(c.GetIp(), strconv.Itoa(int(c.GetPort())))
		v.ready = append(v.ready, &schedulerpb.Instance{Container: short(c.GetId()), Address: address, Started: time.UnixMicro(c.GetStarted()).Unix()})
	case d.hosts.missing(t.NodeID): // it has all of its time when its host is back
	case d.ages.of("silent "+c.GetId()) > d.opts.Start:
		v.failed, v.silent, v.reason = true, true, silence(c, d.opts.Start)
	}
}

// silence says what is wrong with a container that is not ready in time.
func silence(c *hostpb.Container, after time.Duration) string {
	inside := listens(c)
	switch c.GetHealth() {
	case hostpb.Health_NOT_SERVING:
		return fmt.Sprintf("its health (grpc.health.v1) says NOT_SERVING after %v", after)
	case hostpb.Health_STUCK:
		return fmt.Sprintf("it listens on %s and says nothing to a call within %v", cmp.Or(inside, fmt.Sprintf(":%d", plan.Port)), health.Timeout)
	}
	s := fmt.Sprintf("nothing listens on port %d ($PORT) after %v", plan.Port, after)
	if inside != "" {
		s += fmt.Sprintf("; the program listens on %s only: let it listen on :%d", inside, plan.Port)
	}
	return s
}

// listens lists what the program of a container listens on.
func listens(c *hostpb.Container) string {
	var out []string
	for _, l := range c.GetListens() {
		at := fmt.Sprintf(":%d", l.GetPort())
		if l.GetLoopback() {
			at = "127.0.0.1" + at
		}
		out = append(out, at)
	}
	return strings.Join(out, ", ")
}

// missing says why no container of a slot serves.
func (d *Driver) missing(ctx context.Context, v *verdict, s swarm.Service, tasks []swarm.Task) {
	last := tasks[len(tasks)-1]
	v.started = v.started || len(tasks) > 1 || ended(last)
	switch {
	case hopeless(last) && outdatedTask(last, s): // the one that comes may find its image
	case last.Status.State == swarm.TaskStateShutdown: // taken away on purpose
	case ended(last):
		v.because(d.reason(ctx, last))
		// Swarm ends a task and makes the next one in the same step: where there
		// is no next one, it has given up.
		v.failed = v.failed || last.DesiredState == swarm.TaskStateShutdown
		v.noImage = v.noImage || hopeless(last)
	case last.Status.State == swarm.TaskStatePending && last.Status.Err != "":
		v.because("no host has room for it: " + last.Status.Err)
		v.failed = v.failed || d.ages.of("pending "+last.ID) > d.opts.Start
	case len(tasks) > 1 && ended(tasks[len(tasks)-2]):
		previous := tasks[len(tasks)-2]
		v.because(d.reason(ctx, previous))
		if hopeless(previous) && !outdatedTask(previous, s) && !pulled(previous) {
			v.failed, v.noImage = true, true
		}
	}
}

// noteExits notes the ends of instances that nobody asked for, when Docker has told
// all of it, or has not for some time.
func (d *Driver) noteExits(ctx context.Context, v *verdict, tasks []swarm.Task) {
	for _, t := range tasks {
		if t.Status.State != swarm.TaskStateFailed && t.Status.State != swarm.TaskStateComplete {
			continue
		}
		if e, final := d.end(ctx, t); final || d.ages.of("ended "+t.ID) > d.opts.Start {
			v.exits = append(v.exits, e.exit)
		}
	}
}

// lastExit says how an instance ended last, "" if none did.
func (v verdict) lastExit() string {
	if len(v.exits) == 0 {
		return ""
	}
	e := v.exits[len(v.exits)-1]
	return "ended and was started again at " + time.UnixMilli(e.GetAt()).UTC().Format(time.RFC3339) + ": " + e.GetText()
}

func (v *verdict) because(reason string) { v.reason = cmp.Or(v.reason, reason) }

// ended says whether a task is over.
func ended(t swarm.Task) bool {
	switch t.Status.State {
	case swarm.TaskStateComplete, swarm.TaskStateFailed, swarm.TaskStateRejected, swarm.TaskStateShutdown, swarm.TaskStateOrphaned:
		return true
	}
	return false
}

// hopeless says whether trying again cannot help: the host does not have the
// image, or the image not the program.
func hopeless(t swarm.Task) bool {
	return t.Status.State == swarm.TaskStateRejected && strings.Contains(t.Status.Err, noImage)
}

// pulled says whether the image of a task comes from elsewhere, which may be
// away for a moment.
func pulled(t swarm.Task) bool {
	return t.Spec.ContainerSpec != nil && strings.Contains(t.Spec.ContainerSpec.Image, "@")
}

// short is a container's ID as people know it.
func short(id string) string { return id[:min(12, len(id))] }
