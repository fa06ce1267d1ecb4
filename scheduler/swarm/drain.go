package swarm

import (
	"context"
	"time"

	"github.com/micro/platform/internal/pause"
	"github.com/micro/platform/scheduler/plan"
)

// drain waits until nobody is connected to the containers of a deployment, at
// most for so long. The edges close a connection to a node that is out of the
// routes when the last call on it has ended. Where connections cannot be seen all
// of the time is waited for.
func (d *Driver) drain(ctx context.Context, id plan.ID, most time.Duration) error {
	end := d.now().Add(most)
	for wait := stopPoll; d.now().Before(end); wait = min(2*wait, stopPollLast) {
		_, connected, err := d.hosts.busy(ctx, id)
		if err != nil || !connected {
			return err
		}
		if err := pause.For(ctx, min(wait, end.Sub(d.now()))); err != nil {
			return err
		}
	}
	return nil
}
