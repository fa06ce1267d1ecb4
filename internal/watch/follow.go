package watch

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/micro/platform/internal/pause"
)

// The waits between two attempts to follow.
const (
	firstWait = 50 * time.Millisecond
	longWait  = 2 * time.Second
	// settled is how long a stream lasts that was not a failed attempt.
	settled = 10 * time.Second
)

// Follow calls session, which reads a stream until it breaks, again and again
// until ctx ends. The waits between grow while it fails, and vary, so that not all
// followers come back at once. lost is called with the first error of each row of
// failures.
func Follow(ctx context.Context, session func(context.Context) error, lost func(error)) {
	for wait := firstWait; ; wait = min(2*wait, longWait) {
		began := time.Now()
		err := session(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > settled {
			wait = firstWait
		}
		if wait == firstWait {
			lost(err)
		}
		if pause.For(ctx, wait/2+rand.N(wait)) != nil {
			return
		}
	}
}
