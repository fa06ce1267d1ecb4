package swarm

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/docker/docker/api/types/swarm"
)

// labelAgain is on services that Swarm had given up instances of and that were
// tried again: when the newest task of then was made.
const labelAgain = "micro.again"

// refill has Swarm try the instances of a service again that it has given up, and
// leave the others alone. tasks are all of the service, oldest first.
//
// A changed template would replace every container. Where only the rest of a
// service changes, Swarm does not try again what its restart policy has ended,
// but for one case: on the way back to the specification before, everything that
// is missing is made. So the same one is written twice, and gone back to.
func (d *Driver) refill(ctx context.Context, s swarm.Service, tasks []swarm.Task) error {
	spec, version := s.Spec, s.Version
	spec.Labels = maps.Clone(spec.Labels)
	spec.Labels[labelAgain] = tasks[len(tasks)-1].CreatedAt.Format(time.RFC3339Nano)
	for _, rollback := range []string{"", "", "previous"} {
		if _, err := d.engine.ServiceUpdate(ctx, s.ID, version, spec, swarm.ServiceUpdateOptions{Rollback: rollback}); err != nil {
			return fmt.Errorf("start instances of %s again: %w", spec.Name, err)
		}
		now, _, err := d.engine.ServiceInspectWithRaw(ctx, s.ID, swarm.ServiceInspectOptions{})
		if err != nil {
			return fmt.Errorf("inspect service %s: %w", spec.Name, err)
		}
		version = now.Version
	}
	return nil
}

// outdatedTask says whether a service was started again since a task was made.
func outdatedTask(t swarm.Task, s swarm.Service) bool {
	again, err := time.Parse(time.RFC3339Nano, s.Spec.Labels[labelAgain])
	return err == nil && !t.CreatedAt.After(again)
}

// abandoned says whether Swarm has given up an instance.
func abandoned(tasks []swarm.Task) bool {
	last := map[int]swarm.Task{}
	for _, t := range tasks { // oldest first
		last[t.Slot] = t
	}
	for _, t := range last {
		if ended(t) && t.Status.State != swarm.TaskStateShutdown && t.DesiredState == swarm.TaskStateShutdown {
			return true
		}
	}
	return false
}
