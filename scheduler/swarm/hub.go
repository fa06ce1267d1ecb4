package swarm

import (
	"context"
	"maps"
	"slices"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/framework/errors"
	schedulerpb "github.com/micro/platform/proto/scheduler"
	"github.com/micro/platform/scheduler/plan"
)

// hub holds what was last seen of each deployment and tells watchers of
// changes. A watcher that is slow gets the latest state of each deployment, not
// each state: what waits for it is never more than there are deployments.
type hub struct {
	mu       sync.Mutex
	known    bool  // Docker was looked at once
	away     error // why it cannot be looked at now
	states   map[plan.ID]*schedulerpb.Status
	watchers map[*watcher]struct{}
}

type watcher struct {
	pending map[plan.ID]*schedulerpb.Status // guarded by the hub's mu
	over    error                           // why there is no more to come; likewise
	wake    chan struct{}
}

func newHub() *hub {
	return &hub{states: map[plan.ID]*schedulerpb.Status{}, watchers: map[*watcher]struct{}{}}
}

// set replaces what is known.
func (h *hub) set(states map[plan.ID]*schedulerpb.Status) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, s := range states {
		if !proto.Equal(s, h.states[id]) {
			h.tell(id, s)
		}
	}
	for id, s := range h.states {
		if states[id] == nil {
			h.tell(id, &schedulerpb.Status{Id: s.GetId(), State: schedulerpb.Status_GONE})
		}
	}
	first := !h.known
	h.states, h.known, h.away = states, true, nil
	if first {
		for w := range h.watchers {
			nudge(w.wake)
		}
	}
}

// lose says that Docker cannot be looked at. What was known stays, and watchers
// are sent away: they would take it for what is, and where there are several hosts
// another scheduler may know more.
func (h *hub) lose(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.away = errors.New(codes.Unavailable, "%s", detail(err)).Because(err)
	for w := range h.watchers {
		w.over = h.away
		nudge(w.wake)
	}
}

// detail is what people may read of an error.
func detail(err error) string {
	if errors.Code(err) == codes.Unavailable {
		return errors.FromError(err).Detail
	}
	return "Docker cannot be looked at now, ask again"
}

func (h *hub) tell(id plan.ID, s *schedulerpb.Status) {
	for w := range h.watchers {
		w.pending[id] = s
		nudge(w.wake)
	}
}

// list answers all that is known, in order.
func (h *hub) list() ([]*schedulerpb.Status, bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return sorted(h.states), h.known, h.away
}

// snapshot answers all that is known, by ID.
func (h *hub) snapshot() map[plan.ID]*schedulerpb.Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.states // replaced as a whole, never changed
}

// add makes a watcher that starts with all that is known.
func (h *hub) add() *watcher {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := &watcher{pending: maps.Clone(h.states), over: h.away, wake: make(chan struct{}, 1)}
	h.watchers[w] = struct{}{}
	nudge(w.wake)
	return w
}

func (h *hub) remove(w *watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.watchers, w)
}

// take answers what waits for a watcher, in order, and whether Docker was
// looked at by then.
func (h *hub) take(w *watcher) ([]*schedulerpb.Status, bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := sorted(w.pending)
	w.pending = map[plan.ID]*schedulerpb.Status{}
	return out, h.known, w.over
}

// watch sends all that is known, a Status with ready set, and then changes.
func (h *hub) watch(ctx context.Context, send func(*schedulerpb.Status) error) error {
	w := h.add()
	defer h.remove(w)
	for ready := false; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.wake:
		}
		states, known, over := h.take(w)
		if over != nil {
			return over
		}
		if known && !ready {
			ready = true
			states = append(states, &schedulerpb.Status{Ready: true})
		}
		for _, s := range states {
			if err := send(s); err != nil {
				return err
			}
		}
	}
}

// until waits until a deployment is gone.
func (h *hub) until(ctx context.Context, id plan.ID) {
	h.watch(ctx, func(s *schedulerpb.Status) error { //nolint:errcheck // both ways it is over
		if s.GetState() == schedulerpb.Status_GONE && fromProto(s.GetId()) == id {
			return context.Canceled
		}
		return nil
	})
}

func fromProto(id *schedulerpb.ID) plan.ID {
	return plan.ID{Namespace: id.GetNamespace(), Service: id.GetService(), Version: id.GetVersion(), Revision: id.GetRevision()}
}

func sorted(states map[plan.ID]*schedulerpb.Status) []*schedulerpb.Status {
	var out []*schedulerpb.Status
	for _, id := range slices.SortedFunc(maps.Keys(states), plan.ID.Compare) {
		out = append(out, states[id])
	}
	return out
}
