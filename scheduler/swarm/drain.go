package swarm

import (
	"context"
	"fmt"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/micro/platform/scheduler/plan"
)

// drain waits until nobody is connected to the containers of a deployment, at
// most for so long. The edges close a connection to a node that is out of the
// routes when the last call on it has ended. Where connections cannot be seen all
// of the time is waited for.
func (d *Driver) drain(ctx context.Context, id plan.ID, most time.Duration) error {
	for end := d.now().Add(most); d.now().Before(end); {
		busy, err := d.busy(ctx, id)
		if err != nil || !busy {
			return err
		}
		if err := pause(ctx, stopPoll); err != nil {
			return err
		}
	}
	return nil
}

// busy says whether anybody is connected to a port of a deployment.
func (d *Driver) busy(ctx context.Context, id plan.ID) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	found, err := d.engine.ContainerList(ctx, container.ListOptions{Filters: d.having(plan.Labels(d.opts.Cluster, id))})
	if err != nil {
		return false, fmt.Errorf("list containers of %s: %w", id, err)
	}
	for _, c := range found {
		info, err := d.engine.ContainerInspect(ctx, c.ID)
		if isGone(err) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("inspect container %s: %w", short(c.ID), err)
		}
		if info.State == nil || !info.State.Running {
			continue
		}
		if !d.opts.Local {
			return true, nil
		}
		if connected, known := connections(info.State.Pid, c.ID); connected > 0 || !known {
			return true, nil
		}
	}
	return false, nil
}
