package proxy

import (
	"context"
	"maps"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

const (
	// nearEvery is the pause between two rounds of tries.
	nearEvery = 200 * time.Millisecond
	// nearWithin is how long an edge waits for one more namespace that it reaches.
	// A namespace whose containers do not answer keeps no edge away for longer.
	nearWithin = 15 * time.Second
	// maxTries bounds the connections that are tried at once.
	maxTries = 64
)

// near says whether an edge that has started reaches the services of namespaces.
// Over several hosts it does not until it is a member of their networks, which
// takes a moment for each: others take the calls meanwhile, if its health says so.
type near struct {
	is     atomic.Bool
	within time.Duration
}

func (n *near) check() error {
	if n.is.Load() {
		return nil
	}
	return errors.New(codes.Unavailable, "this edge does not reach all services yet, connect to another")
}

// approach tries to connect to an instance of every namespace, until it has
// reached one of each, or for too long none more.
func (n *near) approach(ctx context.Context, r *routes) error {
	defer n.is.Store(true)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	end := time.AfterFunc(n.within, cancel)
	defer end.Stop()
	select {
	case <-r.ready:
	case <-ctx.Done():
		return nil
	}
	reached := map[string]bool{}
	for {
		left := r.samples(reached)
		if len(left) == 0 {
			return nil
		}
		found := tryAll(ctx, left)
		if len(found) == len(left) {
			return nil
		}
		if len(found) > 0 && end.Stop() {
			end.Reset(n.within)
		}
		maps.Copy(reached, found)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(nearEvery):
		}
	}
}

// tryAll connects to addresses, by namespace, and answers the namespaces whose
// network it reached.
func tryAll(ctx context.Context, addresses map[string]string) map[string]bool {
	found := map[string]bool{}
	var mu sync.Mutex
	var work sync.WaitGroup
	free := make(chan struct{}, maxTries)
	for namespace, address := range addresses {
		free <- struct{}{}
		work.Go(func() {
			defer func() { <-free }()
			d := net.Dialer{Timeout: dialTimeout}
			conn, err := d.DialContext(ctx, "tcp", address)
			if err == nil {
				conn.Close()
			}
			if err == nil || errors.Is(err, syscall.ECONNREFUSED) { // its host has answered
				mu.Lock()
				defer mu.Unlock()
				found[namespace] = true
			}
		})
	}
	work.Wait()
	return found
}

// samples answers the address of an instance of each namespace, any of them, but
// for those in but.
func (r *routes) samples(but map[string]bool) map[string]string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	out, seen := map[string]string{}, map[string]int{}
	for n, s := range r.services {
		for _, x := range s.nodes {
			if but[n.namespace] {
				continue
			}
			if seen[n.namespace]++; rand.IntN(seen[n.namespace]) == 0 {
				out[n.namespace] = x.address
			}
		}
	}
	return out
}
