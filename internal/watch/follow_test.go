package watch

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// TestWaitsGrow: while sessions fail they come ever less often, and only the first
// failure is told.
func TestWaitsGrow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var told int
		var last time.Time
		var waits []time.Duration
		Follow(ctx, func(context.Context) error {
			if now := time.Now(); !last.IsZero() {
				waits = append(waits, now.Sub(last))
			}
			last = time.Now()
			if len(waits) == 10 {
				cancel()
			}
			return io.EOF
		}, func(error) { told++ })
		if told != 1 {
			t.Errorf("%d failures were told, want the first", told)
		}
		for i, got := range waits {
			want := min(firstWait<<i, longWait)
			if got < want/2 || got >= want*3/2 {
				t.Errorf("wait %d is %v, want about %v", i, got, want)
			}
		}
	})
}

// TestSettledStreamComesBackSoon: one that breaks after a while is followed again
// as if for the first time.
func TestSettledStreamComesBackSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var told, sessions int
		var broke time.Time
		Follow(ctx, func(ctx context.Context) error {
			if took := time.Since(broke); sessions > 0 && took >= 2*firstWait {
				t.Errorf("session %d comes %v after the stream broke", sessions, took)
			}
			if sessions++; sessions == 5 {
				cancel()
			}
			<-time.After(2 * settled)
			broke = time.Now()
			return io.EOF
		}, func(error) { told++ })
		if told != 4 {
			t.Errorf("%d losses were told, want 4", told)
		}
	})
}
