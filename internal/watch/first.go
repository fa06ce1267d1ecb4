package watch

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

// patience is how long a call waits for the first snapshot after a start.
const patience = 5 * time.Second

// First is the first snapshot of what a component knows. Before it has come there
// is nothing to go by.
type First struct {
	component string
	came      chan struct{}
	once      sync.Once
}

// NewFirst makes one that has not come yet.
func NewFirst(component string) *First {
	return &First{component: component, came: make(chan struct{})}
}

// Came says that there is a snapshot, the first or another.
func (f *First) Came() { f.once.Do(func() { close(f.came) }) }

// Wait waits until it has come, for a while.
func (f *First) Wait(ctx context.Context) error {
	select {
	case <-f.came:
		return nil
	default:
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-f.came:
		return nil
	case <-ctx.Done():
		return errors.New(codes.DeadlineExceeded, "%v", ctx.Err())
	case <-t.C:
		return errors.New(codes.Unavailable, "%s is not reachable, try again", f.component)
	}
}
