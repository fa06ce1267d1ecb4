package containers

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"slices"
	"sync"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/dockerhost"
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
	network string // as in seen
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
	a := &asking{network: s.network, address: address, done: make(chan struct{})}
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
	var dialer net.Dialer
	if d.opts.Files == nil {
		return func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", a.address) }
	}
	return func(ctx context.Context) (conn net.Conn, err error) {
		network, err := d.sandbox(a.network)
		if err != nil {
			return nil, err
		}
		err = dockerhost.Inside(network, func() (err error) {
			conn, err = dialer.DialContext(ctx, "tcp", a.address) // on this very thread: it is an address of IP
			return err
		})
		return conn, err
	}
}

// sandbox answers the file of the network namespace that Docker keeps on each host
// for an overlay, in which this host has an address. From there a container is
// reached as its neighbours reach it: from within its own namespace, one in gVisor
// is not. The number before the network's ID grows each time that Docker makes it.
func (d *Docker) sandbox(network string) (string, error) {
	files, err := d.opts.Files()
	if err != nil {
		return "", err
	}
	found, err := filepath.Glob(filepath.Join(files, network))
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("network %s is not on this host: %w", network, errors.Join(err, fs.ErrNotExist))
	}
	return slices.MaxFunc(found, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) // by number
	}), nil
}
