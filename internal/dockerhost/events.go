package dockerhost

import (
	"context"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
)

// hearTimeout bounds the wait for a Docker to begin telling of events: it does so
// at once, also when there is none.
const hearTimeout = 10 * time.Second

// Hear answers a Docker's events until ctx ends, or an error when Docker is away or
// does not begin to tell of them. The client must have asked for something else
// before, from whose answer it takes its version of the API.
func Hear(ctx context.Context, docker interface {
	Events(ctx context.Context, o events.ListOptions) (<-chan events.Message, <-chan error)
}, f filters.Args) (heard <-chan events.Message, lost <-chan error) {
	ctx, cancel := context.WithCancel(ctx)
	defer time.AfterFunc(hearTimeout, cancel).Stop()
	return docker.Events(ctx, events.ListOptions{Filters: f})
}
