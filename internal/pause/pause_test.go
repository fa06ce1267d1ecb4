package pause

import (
	"context"
	"errors"
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
