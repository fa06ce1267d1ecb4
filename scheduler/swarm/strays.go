package swarm

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/docker/docker/api/types/swarm"

	"github.com/micro/platform/internal/pause"
	hostpb "github.com/micro/platform/proto/host"
)

const (
	// strayEvery is how often strays are looked for.
	strayEvery = 3 * time.Second
	// strayAfter is how long a host has been down by then. After an election the
	// managers take hosts for down that find them again a moment later.
	strayAfter = 15 * time.Second
	// strayTimeout is longer than host takes to stop containers.
	strayTimeout = 25 * time.Second
)

// strayLoop stops what runs twice, until ctx ends: a host that the swarm has lost
// goes on with its containers, while others run in their place. When it is back on
// the network, it takes up to a minute until its Docker and the managers have found
// each other again; its component host answers at once.
func (d *Driver) strayLoop(ctx context.Context) {
	lost := newHosts(nil, d.opts.Dial)
	defer lost.close()
	down := map[string]time.Time{}
	for pause.For(ctx, strayEvery) == nil {
		if err := d.stopStrays(ctx, lost, down); err != nil {
			d.log.Debug("strays are not looked for", "error", err)
		}
	}
}

// stopStrays stops containers on hosts that are down for the managers and answer
// all the same: those that others run in the place of. down is since when a host
// has been.
func (d *Driver) stopStrays(ctx context.Context, lost *hosts, down map[string]time.Time) error {
	asking, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	nodes, err := d.engine.NodeList(asking, swarm.NodeListOptions{})
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	nodes = slices.DeleteFunc(nodes, func(n swarm.Node) bool {
		if n.Status.State != swarm.NodeStateDown {
			delete(down, n.ID)
			return true
		}
		if down[n.ID].IsZero() {
			down[n.ID] = d.now()
		}
		return d.now().Sub(down[n.ID]) < strayAfter
	})
	for i := range nodes {
		nodes[i].Status.State = swarm.NodeStateUnknown // so that it is asked
	}
	if err := lost.know(nodes); err != nil || len(nodes) == 0 {
		return err
	}
	tasks, err := d.engine.TaskList(asking, swarm.TaskListOptions{Filters: d.having(nil)})
	if err != nil {
		return fmt.Errorf("list tasks: %w", err)
	}
	wanted := wantedTasks(tasks)
	lost.each(ctx, func(ctx context.Context, x *host) { d.stopUnwanted(ctx, x, wanted) })
	return nil
}

// wantedTasks answers the tasks whose containers are to go on: those that the
// managers have not replaced, and those whose replacement does not run. Those of a
// service that was removed, as one is with the revision before, are not replaced.
func wantedTasks(tasks []swarm.Task) map[string]bool {
	type place struct {
		service string
		slot    int
	}
	taken := map[place]bool{}
	for _, t := range tasks {
		if t.DesiredState == swarm.TaskStateRunning && t.Status.State == swarm.TaskStateRunning {
			taken[place{t.ServiceID, t.Slot}] = true
		}
	}
	wanted := map[string]bool{}
	for _, t := range tasks {
		removed := t.DesiredState == swarm.TaskStateRemove
		replaced := t.DesiredState == swarm.TaskStateShutdown && taken[place{t.ServiceID, t.Slot}]
		wanted[t.ID] = !removed && !replaced
	}
	return wanted
}

// stopUnwanted stops the containers of a host that are of no wanted task.
func (d *Driver) stopUnwanted(ctx context.Context, x *host, wanted map[string]bool) {
	found, err := x.Probe(ctx)
	if err != nil {
		return // it is off
	}
	var strays []string
	for _, c := range found {
		if c.GetRunning() && c.GetTask() != "" && !wanted[c.GetTask()] {
			strays = append(strays, c.GetId())
		}
	}
	if len(strays) == 0 {
		return
	}
	d.log.Info("stopping containers that others run in the place of, on a host that the swarm has lost", "host", x.agent.address, "containers", len(strays))
	ctx, cancel := ask(ctx, strayTimeout)
	defer cancel()
	if _, err := x.agent.client.Stop(ctx, &hostpb.StopRequest{Containers: strays}); err != nil {
		d.log.Warn("containers run twice", "host", x.agent.address, "containers", len(strays), "error", err)
	}
}
