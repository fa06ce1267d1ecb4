package platform

import (
	"context"
	"time"
)

// Until waits, and is false when ctx has ended.
func Until(ctx context.Context, due time.Time) bool {
	t := time.NewTimer(time.Until(due))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return ctx.Err() == nil
	}
}
