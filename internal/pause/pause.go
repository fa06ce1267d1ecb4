package pause

import (
	"context"
	"time"
)

// For waits for d. When ctx ends before that, it answers why.
func For(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
	return ctx.Err()
}
