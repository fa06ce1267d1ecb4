package pause

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestFor(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		timeout, d time.Duration
		took       time.Duration
		want       error
	}{
		{"all of it", time.Hour, time.Minute, time.Minute, nil},
		{"ctx ends", time.Minute, time.Hour, time.Minute, context.DeadlineExceeded},
		{"nothing", time.Hour, 0, 0, nil},
		{"ctx has ended", 0, time.Hour, 0, context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), tt.timeout)
				defer cancel()
				began := time.Now()
				err := For(ctx, tt.d)
				if took := time.Since(began); !errors.Is(err, tt.want) || took != tt.took {
					t.Errorf("For = %v after %v, want %v after %v", err, took, tt.want, tt.took)
				}
			})
		})
	}
}

func TestTicks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		began := time.Now()
		var at []time.Duration
		for now := range Ticks(ctx, time.Minute) {
			switch at = append(at, now.Sub(began)); len(at) {
			case 2:
				<-time.After(90 * time.Second) // longer than an interval
			case 4:
				cancel()
			}
		}
		want := []time.Duration{time.Minute, 2 * time.Minute, 3 * time.Minute, 4 * time.Minute}
		if !slices.Equal(at, want) || time.Since(began) != 4*time.Minute {
			t.Errorf("ticks at %v until %v, want %v", at, time.Since(began), want)
		}
		for range Ticks(t.Context(), time.Second) {
			break
		}
	})
}
