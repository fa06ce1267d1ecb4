package swarm

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"
	"google.golang.org/protobuf/proto"

	schedulerpb "github.com/micro/platform/proto/scheduler"
	"github.com/micro/platform/scheduler/plan"
)

// spanFor is how long the end of a container is remembered that Docker has
// removed.
const spanFor = 10 * time.Minute

// spans are from when to when containers have run, and with what. Docker knows
// those that it has not removed; the end of others is known to whoever saw it.
type spans struct {
	mu sync.Mutex
	of map[string]*schedulerpb.Container // by container, each replaced as a whole
}

// list answers all that are known, in order.
func (s *spans) list() []*schedulerpb.Container {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.of), func(a, b *schedulerpb.Container) int {
		return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetContainer(), b.GetContainer()))
	})
}

func (s *spans) get(id string) *schedulerpb.Container {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of[id]
}

// put notes what is known of a container; nil is nothing any more.
func (s *spans) put(id string, c *schedulerpb.Container) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c == nil {
		delete(s.of, id)
	} else {
		s.of[id] = c
	}
}

// Containers answers what containers of services have had.
func (d *Driver) Containers() ([]*schedulerpb.Container, error) {
	if _, err := d.List(); err != nil { // Docker is away: whether they run is not known
		return nil, err
	}
	return d.spans.list(), nil
}

// span notes which containers have begun to run, and which have ended.
func (d *Driver) span(ctx context.Context, w world) error {
	there := map[string]bool{}
	for _, c := range w.containers {
		there[c.ID] = true
		known := d.spans.get(c.ID)
		runs := c.State == container.StateRunning
		if c.State == container.StateCreated || known != nil && runs == (known.GetEnded() == 0) {
			continue
		}
		is, err := d.inspectSpan(ctx, c)
		if err != nil {
			return err
		}
		if is != nil {
			d.spans.put(c.ID, is)
		}
	}
	now := d.now()
	for _, c := range d.spans.list() {
		switch {
		case there[c.GetContainer()]:
		case c.GetEnded() == 0:
			c = proto.CloneOf(c)
			c.Ended = now.UnixMilli()
			d.spans.put(c.GetContainer(), c)
		case now.Sub(time.UnixMilli(c.GetEnded())) > spanFor:
			d.spans.put(c.GetContainer(), nil)
		}
	}
	return nil
}

// inspectSpan asks Docker what a container has had. It answers nil for one that
// is gone, or never ran.
func (d *Driver) inspectSpan(ctx context.Context, c container.Summary) (*schedulerpb.Container, error) {
	id, ok := plan.FromLabels(c.Labels)
	if !ok {
		return nil, nil
	}
	info, err := d.engine.ContainerInspect(ctx, c.ID)
	if isGone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("inspect container %s: %w", short(c.ID), err)
	}
	if info.State == nil || info.HostConfig == nil {
		return nil, nil
	}
	started, err := time.Parse(time.RFC3339Nano, info.State.StartedAt)
	if err != nil || started.Year() < 2000 { // it never ran
		return nil, nil
	}
	out := &schedulerpb.Container{
		Container: c.ID, Namespace: id.Namespace, Service: id.Service, Started: started.UnixMilli(),
		Millicores: info.HostConfig.NanoCPUs / 1e6, Memory: info.HostConfig.Memory,
	}
	if ended, err := time.Parse(time.RFC3339Nano, info.State.FinishedAt); err == nil && !info.State.Running && !ended.Before(started) {
		out.Ended = ended.UnixMilli()
	}
	return out, nil
}
