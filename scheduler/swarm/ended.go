package swarm

import (
	"context"
	"fmt"
	"time"

	"github.com/docker/docker/api/types/swarm"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	hostpb "github.com/micro/platform/proto/host"
	schedulerpb "github.com/micro/platform/proto/scheduler"
	"github.com/micro/platform/scheduler/plan"
)

// Ended is a container that ran and does not any more. Docker gives its address
// to the next one.
type Ended struct {
	Namespace string
	IP        string
	At        time.Time
}

const (
	// maxEnded bounds what waits to be told. More is left to the registry, where
	// nodes that are not renewed end by themselves.
	maxEnded = 1000
	// tellEvery is the wait before another try to tell, and tellTries how many
	// there are.
	tellEvery = time.Second
	tellTries = 30
)

// noteEnded notes the end of a container that ran. is is what it is now, nil when
// it is gone.
func (d *Driver) noteEnded(was, is *hostpb.Container) {
	if was.GetIp() == "" {
		return
	}
	e := Ended{Namespace: was.GetNamespace(), IP: was.GetIp(), At: d.now()}
	// Exactly, since another one may have got the address and registered by now.
	if t := is.GetEnded(); t != 0 {
		e.At = time.UnixMicro(t)
	}
	select {
	case d.ended <- e:
	default:
	}
}

// TellEnded has tell called for every container that ends, until ctx does.
func (d *Driver) TellEnded(ctx context.Context, tell func(context.Context, Ended) error) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-d.ended:
			d.tellEnded(ctx, e, tell)
		}
	}
}

func (d *Driver) tellEnded(ctx context.Context, e Ended, tell func(context.Context, Ended) error) {
	for range tellTries {
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, callTimeout)
			defer cancel()
			return tell(ctx, e)
		}()
		if err == nil || ctx.Err() != nil {
			return
		}
		d.log.Debug("the end of a container could not be told", "namespace", e.Namespace, "error", err)
		if pause(ctx, tellEvery) != nil {
			return
		}
	}
}

// End answers how a container of a deployment ended, with its last lines.
func (d *Driver) End(ctx context.Context, id plan.ID, container string) (*schedulerpb.Exit, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	tasks, err := d.engine.TaskList(ctx, swarm.TaskListOptions{Filters: d.having(plan.Labels(d.opts.Cluster, id))})
	if err != nil {
		return nil, d.explain(fmt.Errorf("list tasks of %s: %w", id, err))
	}
	for _, t := range tasks {
		c := t.Status.ContainerStatus
		if c == nil || !ended(t) || c.ContainerID == "" || short(c.ContainerID) != container {
			continue
		}
		where := d.hosts.of(t)
		if where == nil {
			return nil, errors.New(codes.Unavailable, "the host of container %s is away, try again", container)
		}
		is, err := where.End(ctx, c.ContainerID)
		if err != nil {
			return nil, d.explain(err)
		}
		e := &schedulerpb.Exit{Container: container, At: t.Status.Timestamp.UnixMilli()}
		describe(e, is)
		for _, l := range is.GetLines() {
			e.Lines = append(e.Lines, &schedulerpb.LogLine{Timestamp: l.GetAt(), Message: l.GetText(), Container: container})
		}
		return e, nil
	}
	return nil, errors.New(codes.NotFound, "no container %q of %s has ended", errors.Clip(container), id)
}
