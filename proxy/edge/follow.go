package edge

import (
	"context"
	"math/rand/v2"
	"time"
)

// The waits between two attempts to follow a component again.
const (
	firstWait = 50 * time.Millisecond
	longWait  = 2 * time.Second
	// settled is how long a stream lasts that was not a failed attempt.
	settled = 10 * time.Second
)

// follow runs watch again and again until ctx ends, with growing waits while it
// fails. The waits vary, so that edges do not come back all at once.
func (e *Edge) follow(ctx context.Context, component string, watch func(context.Context) error) error {
	wait := firstWait
	for {
		began := time.Now()
		err := watch(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > settled {
			wait = firstWait
		}
		if wait == firstWait {
			e.log.Warn("lost a component, going on with what is known", "lost", component, "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait/2 + rand.N(wait)):
		}
		wait = min(2*wait, longWait)
	}
}
