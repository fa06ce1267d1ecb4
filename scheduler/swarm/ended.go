package swarm

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/docker/docker/api/types/swarm"
	"golang.org/x/sync/errgroup"
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
	Ago       time.Duration // since then, by the time that it is told

	at time.Time
}

// place is an address in the network of a namespace.
type place struct{ namespace, ip string }

// ends are the containers that ended and are still to be told of: the last one at
// each place, since the end of a later one is that of those before it, too.
type ends struct {
	mu   sync.Mutex
	of   map[place]time.Time
	wake chan struct{} // holds one when there is more to tell
}

const (
	// maxEnds bounds how many wait to be told of, and endFor for how long each. More
	// is left to the registry, where nodes that are not renewed end by themselves.
	maxEnds = 10_000
	endFor  = 10 * time.Minute
	// tellAtOnce is how many are told of at a time.
	tellAtOnce = 8
	// Tries to tell grow apart from tellFirst to tellLast.
	tellFirst = time.Second
	tellLast  = 30 * time.Second
)

// add notes an end, unless there are too many.
func (e *ends) add(p place, at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if old, ok := e.of[p]; ok && old.After(at) || !ok && len(e.of) >= maxEnds {
		return
	}
	e.of[p] = at
	nudge(e.wake)
}

// told drops an end, unless there has been another one since.
func (e *ends) told(p place, at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.of[p].Equal(at) {
		delete(e.of, p)
	}
}

// list answers the ends that are still of use, and drops the others.
func (e *ends) list(now time.Time) []Ended {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []Ended
	for p, at := range e.of {
		if now.Sub(at) > endFor {
			delete(e.of, p)
			continue
		}
		out = append(out, Ended{Namespace: p.namespace, IP: p.ip, at: at})
	}
	return out
}

// noteEnded notes the end of a container that ran. is is what it is now, nil when
// it is gone.
func (d *Driver) noteEnded(was, is *hostpb.Container) {
	if was.GetIp() == "" {
		return
	}
	at := d.now()
	// Exactly, since another one may have got the address and registered by now.
	if t := is.GetEnded(); t != 0 {
		at = time.UnixMicro(t)
	}
	d.ends.add(place{was.GetNamespace(), was.GetIp()}, at)
}

// TellEnded has tell called for every container that ends, until it has succeeded
// or ctx ends.
func (d *Driver) TellEnded(ctx context.Context, tell func(context.Context, Ended) error) error {
	for wait := tellFirst; ctx.Err() == nil; {
		again := endFor
		if d.tellAll(ctx, tell) {
			wait = tellFirst
		} else {
			again, wait = wait, min(2*wait, tellLast)
		}
		t := time.NewTimer(again)
		select {
		case <-ctx.Done():
		case <-d.ends.wake:
		case <-t.C:
		}
		t.Stop()
	}
	return nil
}

// tellAll tells once of all that waits, and answers whether nothing is left.
func (d *Driver) tellAll(ctx context.Context, tell func(context.Context, Ended) error) bool {
	var work errgroup.Group
	work.SetLimit(tellAtOnce)
	for _, e := range d.ends.list(d.now()) {
		work.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, callTimeout)
			defer cancel()
			e.Ago = d.now().Sub(e.at)
			if err := tell(ctx, e); err != nil {
				d.log.Debug("the end of a container could not be told, trying again", "namespace", e.Namespace, "error", err)
				return err
			}
			d.ends.told(place{e.Namespace, e.IP}, e.at)
			return nil
		})
	}
	return work.Wait() == nil
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
		e := &schedulerpb.Exit{Container: container, At: d.hosts.moment(t, t.Status.Timestamp).UnixMilli()}
		describe(e, is)
		for _, l := range is.GetLines() {
			e.Lines = append(e.Lines, &schedulerpb.LogLine{Timestamp: l.GetAt(), Message: l.GetText(), Container: container})
		}
		return e, nil
	}
	return nil, errors.New(codes.NotFound, "no container %q of %s has ended", errors.Clip(container), id)
}
