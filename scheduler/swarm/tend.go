package swarm

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/pause"
	schedulerpb "github.com/micro/platform/proto/scheduler"
	"github.com/micro/platform/scheduler/plan"
)

const (
	// tendEvery is how often what needs a hand is looked for.
	tendEvery = 10 * time.Second
	// release is how long Docker holds on to the containers of a service that
	// was removed.
	release = 3 * time.Second
	// patience is the longest time between two tries of a service that ends
	// again and again.
	patience = 5 * time.Minute
)

// labelProven is on services that have run. One that Swarm has given up is
// started again if it is proven, since it failed because of something around
// it: the edge was not there yet, the host was starting. One that never ran is
// left as it is.
const labelProven = "micro.proven"

// TendLoop does what needs doing without being asked, until ctx ends. One
// process does it.
func (d *Driver) TendLoop(ctx context.Context) error {
	var work sync.WaitGroup
	defer work.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if d.several() {
		work.Go(func() { d.joinLoop(ctx) })
		work.Go(func() { d.strayLoop(ctx) })
		work.Go(func() { d.markLoop(ctx) })
	}
	t := tender{Driver: d, retries: map[string]*retry{}}
	for ctx.Err() == nil {
		if err := t.tend(ctx); err != nil {
			d.log.Debug("not tended", "error", err)
			if d.several() && away(err) { // another scheduler has another Docker
				return nil
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(tendEvery):
		case <-d.proven: // it may end the next moment, and is started again for having run
		case <-d.empty:
			pause.For(ctx, release) //nolint:errcheck // the loop ends
		}
	}
	return nil
}

type tender struct {
	*Driver
	retries map[string]*retry // by service
}

type retry struct {
	next time.Time
	wait time.Duration
}

// tend looks after everything once. What cannot be done for one service is left
// for the next time, and the others get theirs.
func (t *tender) tend(ctx context.Context) error {
	w, err := t.read(ctx)
	if err != nil {
		return err
	}
	states := t.hub.snapshot()
	for id := range t.retries {
		if len(w.tasks[id]) == 0 {
			delete(t.retries, id)
		}
	}
	used := map[string]bool{}
	var errs []error
	for _, s := range w.services {
		id, ok := plan.FromLabels(s.Spec.Labels)
		if !ok {
			continue
		}
		used[id.Namespace] = true
		if err := t.help(ctx, s, w.tasks[s.ID], states[id].GetState()); err != nil {
			errs = append(errs, fmt.Errorf("tend %s: %w", id, err))
		}
	}
	return errors.Join(append(errs, t.removeNetworks(ctx, used))...)
}

// help marks a service that runs, and starts one again that did.
func (t *tender) help(ctx context.Context, s swarm.Service, tasks []swarm.Task, state schedulerpb.Status_State) error {
	proven := s.Spec.Labels[labelProven] != ""
	s.Spec.Labels = maps.Clone(s.Spec.Labels)
	change := func(ctx context.Context) error {
		_, err := t.engine.ServiceUpdate(ctx, s.ID, s.Version, s.Spec, swarm.ServiceUpdateOptions{})
		return err
	}
	switch {
	case state == schedulerpb.Status_RUNNING && !proven:
		s.Spec.Labels[labelProven] = "yes"
	case state == schedulerpb.Status_FAILED && proven && abandoned(tasks) && t.due(s.ID):
		t.log.Info("starting a service again that Docker had given up", "service", s.Spec.Name)
		change = func(ctx context.Context) error { return t.refill(ctx, s, tasks) }
	default:
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	t.changes.Lock()
	defer t.changes.Unlock()
	if err := change(ctx); !isGone(err) {
		return err
	}
	return nil
}

// due says whether a service may be tried again. Each time it takes twice as
// long; a service that ran through the longest wait starts from the beginning.
func (t *tender) due(id string) bool {
	now := t.now()
	r := t.retries[id]
	if r == nil || now.Sub(r.next) > patience {
		r = &retry{wait: tendEvery}
		t.retries[id] = r
	}
	if now.Before(r.next) {
		return false
	}
	r.next = now.Add(r.wait)
	r.wait = min(2*r.wait, patience)
	return true
}

// removeNetworks removes the networks of namespaces that have nothing running
// any more, without asking about those that are used.
func (d *Driver) removeNetworks(ctx context.Context, used map[string]bool) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	networks, err := d.engine.NetworkList(ctx, network.ListOptions{Filters: d.having(nil)})
	if err != nil {
		return fmt.Errorf("list networks: %w", err)
	}
	seen := map[string]bool{}
	var errs []error
	for _, n := range networks {
		ns := n.Labels[plan.LabelNamespace]
		if ns == "" || used[ns] || seen[ns] {
			continue
		}
		seen[ns] = true
		if err := d.removeNetwork(ctx, ns); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
