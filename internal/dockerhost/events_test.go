package dockerhost

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

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
