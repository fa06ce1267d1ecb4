package swarm

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	schedulerpb "github.com/micro/platform/proto/scheduler"
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
func (d *Driver) span(w world) {
	there := map[string]bool{}
	for _, c := range w.containers {
		there[c.GetId()] = true
		known := d.spans.get(c.GetId())
		if c.GetStarted() == 0 || known != nil && c.GetRunning() == (known.GetEnded() == 0) {
			continue
		}
		d.spans.put(c.GetId(), &schedulerpb.Container{
			Container: c.GetId(), Namespace: c.GetNamespace(), Service: c.GetService(), Started: millis(c.GetStarted()), Ended: millis(c.GetEnded()),
			Millicores: c.GetMillicores(), Memory: c.GetMemory(),
		})
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
}

func millis(micros int64) int64 { return micros / 1000 }
