package containers

import (
	"context"
	"net"
	"sync"

	hostpb "github.com/micro/platform/proto/host"
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
	pid     int
	address string
	answer  hostpb.Health
	done    chan struct{} // closed when answer is there
}

// ask answers what the last check of a container at an address has found, and
// has it asked again. It does not wait: until the first answer, and while it is
// another address that was asked, a container is silent.
func (d *Docker) ask(s *seen, address string) hostpb.Health {
	health := s.is.GetHealth()
	if s.asking == nil || s.asking.address != address {
		health = hostpb.Health_SILENT
	} else {
		select {
		case <-s.asking.done:
			health = s.asking.answer
		default:
			return health
		}
	}
	a := &asking{pid: s.pid, address: address, done: make(chan struct{})}
	select {
	case d.asked <- a:
		s.asking = a
	default: // there is no room
	}
	return health
}

// Check asks containers for their health, until ctx ends; ready is called when
// one is.
func (d *Docker) Check(ctx context.Context, ready func()) *sync.WaitGroup {
	var workers sync.WaitGroup
	for range maxAsked {
		workers.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case a := <-d.asked:
					a.answer = health.Check(ctx, d.way(a))
					close(a.done)
					if a.answer == hostpb.Health_READY {
						ready()
					}
				}
			}
		})
	}
	return &workers
}

// way is how a container is connected to.
func (d *Docker) way(a *asking) health.Dial {
	if d.opts.Inside {
		return func(ctx context.Context) (net.Conn, error) { return dialInside(ctx, a.pid, a.address) }
	}
	return func(ctx context.Context) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "tcp", a.address)
	}
}
