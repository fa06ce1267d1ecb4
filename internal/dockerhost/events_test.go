package dockerhost

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
)

// mute is a Docker that takes a request for events and never answers.
type mute struct{}

func (mute) Events(ctx context.Context, _ events.ListOptions) (<-chan events.Message, <-chan error) {
	<-ctx.Done()
	lost := make(chan error, 1)
	lost <- ctx.Err()
	return nil, lost
}

// talking is a Docker that tells of events until it is not asked any more.
type talking struct{}

func (talking) Events(ctx context.Context, _ events.ListOptions) (<-chan events.Message, <-chan error) {
	lost := make(chan error, 1)
	context.AfterFunc(ctx, func() { lost <- ctx.Err() })
	return nil, lost
}

// TestHear: what has begun goes on.
func TestHear(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		_, lost := Hear(ctx, talking{}, filters.NewArgs())
		select {
		case err := <-lost:
			t.Errorf("it ended: %v", err)
		case <-time.After(2 * hearTimeout):
		}
	})
}

// TestHearNothing: whoever waits for the events of a Docker that does not answer
// hears of it.
func TestHearNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		if _, lost := Hear(t.Context(), mute{}, filters.NewArgs()); !errors.Is(<-lost, context.Canceled) {
			t.Error("it ended otherwise")
		}
	})
}
