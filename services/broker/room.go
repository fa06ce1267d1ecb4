package broker

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/micro/platform/internal/pause"
)

// space is what the subscribers of a namespace have at this process.
type space struct {
	subscribers map[*subscriber]bool // bus's mu guards it
	taken       atomic.Int64         // bytes that wait for all of them
}

func newSpace() *space { return &space{subscribers: map[*subscriber]bool{}} }

// relieve ends those subscribers of a namespace for whom most waits, until all
// that waits has room. It is called with mu held.
func (b *bus) relieve(s *space) {
	for s.taken.Load() > int64(b.opts.NamespaceBytes) {
		var most *subscriber
		largest := 0
		for x := range s.subscribers {
			if n := x.taken(); n > largest {
				most, largest = x, n
			}
		}
		if most == nil {
			return
		}
		most.crowdedOut(b.opts.NamespaceBytes)
	}
}

// lateLoop ends subscribers that have not taken a message for too long, until
// ctx ends.
func (b *bus) lateLoop(ctx context.Context) error {
	for now := range pause.Ticks(ctx, b.opts.Wait/4) {
		b.endLate(now)
	}
	return nil
}

func (b *bus) endLate(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, x := range b.spaces {
		for s := range x.subscribers {
			s.endLate(now, b.opts.Wait)
		}
	}
}
