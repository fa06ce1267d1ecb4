package swarm

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/docker/docker/api/types/swarm"

	"github.com/micro/platform/internal/pause"
	"github.com/micro/platform/scheduler/plan"
)

// markEvery is how often hosts are asked what they run containers in.
const markEvery = 5 * time.Second

// markLoop marks the hosts that run containers in gVisor, until ctx ends.
func (d *Driver) markLoop(ctx context.Context) {
	for {
		if err := d.mark(ctx); err != nil {
			d.log.Debug("not every host is marked that has gVisor", "error", err)
		}
		if pause.For(ctx, markEvery) != nil {
			return
		}
	}
}

// mark labels nodes by what their hosts say, so that Swarm knows where services may
// be that must run in gVisor, and takes them away from where it is no more. One that
// does not answer stays as it is.
func (d *Driver) mark(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	nodes, err := d.engine.NodeList(ctx, swarm.NodeListOptions{})
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	if err := d.hosts.know(nodes); err != nil {
		return err
	}
	told := d.hosts.info(ctx)
	for _, n := range nodes {
		is := told[n.ID]
		_, marked := n.Spec.Labels[plan.LabelGVisor]
		if is == nil || is.GetGvisor() == marked {
			continue
		}
		labels := map[string]string{}
		maps.Copy(labels, n.Spec.Labels)
		if marked {
			delete(labels, plan.LabelGVisor)
		} else {
			labels[plan.LabelGVisor] = plan.InGVisor
		}
		n.Spec.Labels = labels
		if err := d.engine.NodeUpdate(ctx, n.ID, n.Version, n.Spec); err != nil {
			return fmt.Errorf("label node %s: %w", n.Description.Hostname, err)
		}
		d.log.Info("a host's label says whether services run in gVisor there", "host", n.Description.Hostname, "gvisor", !marked)
	}
	return nil
}
