package swarm

import (
	"context"
	"fmt"

	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"

	"github.com/micro/platform/scheduler/plan"
)

// Erase removes what there is of a namespace, and says whether nothing is left.
// Docker lets go of containers, and then of their network, some seconds later.
func (d *Driver) Erase(ctx context.Context, namespace string) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	defer d.look()
	done, err = d.erase(ctx, namespace)
	return done, d.explain(err)
}

func (d *Driver) erase(ctx context.Context, namespace string) (done bool, err error) {
	of := d.having(map[string]string{plan.LabelNamespace: namespace})
	services, err := d.engine.ServiceList(ctx, swarm.ServiceListOptions{Filters: of})
	if err != nil {
		return false, fmt.Errorf("list services: %w", err)
	}
	for _, s := range services {
		if err := d.engine.ServiceRemove(ctx, s.ID); err != nil && !isGone(err) {
			return false, fmt.Errorf("remove service: %w", err)
		}
	}
	if len(services) > 0 {
		return false, nil
	}
	if err := d.removeNetwork(ctx, namespace); err != nil {
		return false, err
	}
	left, err := d.engine.NetworkList(ctx, network.ListOptions{Filters: of})
	if err != nil {
		return false, fmt.Errorf("list networks: %w", err)
	}
	containers, err := d.left(ctx, namespace)
	return containers+len(left) == 0, err
}
