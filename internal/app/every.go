package app

import (
	"context"
	"time"

	"github.com/micro/platform/internal/pause"
)

// Every calls f at once and then at each interval, one call after the other, until
// ctx ends.
func Every(ctx context.Context, interval time.Duration, f func()) error {
	f()
	for range pause.Ticks(ctx, interval) {
		f()
	}
	return nil
}
