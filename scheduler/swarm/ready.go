package swarm

import (
	"context"
	"net"
	"sync"

	"github.com/micro/platform/scheduler/health"
)

const (
	// maxAsked is how many containers are asked for their health at once, so that
	// programs that do not answer do not hold up the rest.
	maxAsked = 64
	// maxAsking is how many wait for that. More wait for the next look.
	maxAsking = 4096
)

// asking is a health check of a container.
type asking struct {
	address string
	answer  health.Answer
	done    chan struct{} // closed when answer is there
}

// ask answers what the last check of a container at an address has found, and
// has it asked again. It does not wait: until the first answer, and while it is
// another address that was asked, a container is Silent.
func (d *Driver) ask(w *watched, address string) health.Answer {
	if w.asking == nil || w.asking.address != address {
		w.health = health.Silent
	} else {
		select {
		case <-w.asking.done:
			w.health = w.asking.answer
		default:
			return w.health
		}
	}
	a := &asking{address: address, done: make(chan struct{})}
	select {
	case d.asked <- a:
		w.asking = a
	default: // there is no room
	}
	return w.health
}

// check asks containers, until ctx ends.
func (d *Driver) check(ctx context.Context) *sync.WaitGroup {
	var workers sync.WaitGroup
	for range maxAsked {
		workers.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case a := <-d.asked:
					a.answer = health.Check(ctx, func(ctx context.Context) (net.Conn, error) {
						var dialer net.Dialer
						return dialer.DialContext(ctx, "tcp", a.address)
					})
					close(a.done)
					if a.answer == health.Ready {
						d.look()
					}
				}
			}
		})
	}
	return &workers
}
