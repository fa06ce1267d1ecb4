package app

import (
	"context"
	"time"
)

// Every calls f at once and then at each interval, one call after the other, until
// ctx ends.
func Every(ctx context.Context, interval time.Duration, f func()) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		f()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
