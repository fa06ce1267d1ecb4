package watch

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

// TestFirstIsWaitedFor shows that calls wait for the first snapshot, not for ever,
// and for no other.
func TestFirstIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := NewFirst("auth")
		short, cancel := context.WithTimeout(t.Context(), patience/2)
		defer cancel()
		wait := func(ctx context.Context, want codes.Code, after time.Duration) {
			t.Helper()
			began := time.Now()
			err := f.Wait(ctx)
			if took := time.Since(began); errors.Code(err) != want || took != after {
				t.Errorf("Wait = %v after %v, want %s after %v", err, took, want, after)
			}
		}
		wait(short, codes.DeadlineExceeded, patience/2)
		wait(t.Context(), codes.Unavailable, patience)
		time.AfterFunc(patience/2, f.Came)
		wait(t.Context(), codes.OK, patience/2)
		f.Came()
		wait(short, codes.OK, 0) // though that is over
	})
}
