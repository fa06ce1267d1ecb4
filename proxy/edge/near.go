package edge

import (
	"context"
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
	// nearEach is how many instances of a namespace are reached, if it has so many:
	// not all of a network is there at once.
	nearEach = 3
	// nearFirst is how long an edge waits for the first instance that it reaches:
	// Docker starts it again long before it has a network for it. nearNext is how
	// long for one more, so that containers that do not answer keep no edge away.
	nearFirst = time.Minute
	nearNext  = 15 * time.Second
	// maxTries bounds the connections that are tried at once.
	maxTries = 64
)

// near says whether an edge that has started reaches the services of namespaces.
// Over several hosts it does not until it is a member of their networks, which
// takes a moment for each: others take the calls meanwhile, if its health says so.
type near struct {
	is          atomic.Bool
	first, next time.Duration // nearFirst, nearNext
}

func (n *near) check() error {
	if n.is.Load() {
		return nil
	}
	return errors.New(codes.Unavailable, "this edge does not reach all services yet, connect to another")
}

// approach tries to connect to instances of every namespace, until it has reached
// them, or for too long none more.
func (n *near) approach(ctx context.Context, r *routes) error {
	defer n.is.Store(true)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	end := time.AfterFunc(n.first, cancel)
	defer end.Stop()
	select {
	case <-r.ready:
	case <-ctx.Done():
		return nil
	}
	reached := map[string]bool{}
	for {
		tried := r.samples(reached)
		found := tryAll(ctx, tried)
		if len(found) == len(tried) {
			return nil
		}
		if len(found) > 0 && end.Stop() {
			end.Reset(n.next)
		}
		for _, address := range found {
			reached[address] = true
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(nearEvery):
		}
	}
}

// tryAll connects to addresses, and answers those that it reached.
func tryAll(ctx context.Context, addresses []string) []string {
	var mu sync.Mutex
	var found []string
	var work sync.WaitGroup
	free := make(chan struct{}, maxTries)
	for _, address := range addresses {
		free <- struct{}{}
		work.Go(func() {
			defer func() { <-free }()
			d := net.Dialer{Timeout: dialTimeout}
			conn, err := d.DialContext(ctx, "tcp", address)
			if err == nil {
				conn.Close()
			}
			if err == nil || errors.Is(err, syscall.ECONNREFUSED) { // its container has answered
				mu.Lock()
				defer mu.Unlock()
				found = append(found, address)
			}
		})
	}
	work.Wait()
	return found
}

// samples answers addresses of instances that are not reached yet, any of them,
// so many that nearEach of each namespace are then.
func (r *routes) samples(reached map[string]bool) []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	left, has := map[string][]string{}, map[string]int{}
	for n, s := range r.services {
		for _, x := range s.nodes {
			if reached[x.address] {
				has[n.namespace]++
			} else {
				left[n.namespace] = append(left[n.namespace], x.address)
			}
		}
	}
	var out []string
	for namespace, all := range left {
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		out = append(out, all[:min(len(all), max(0, nearEach-has[namespace]))]...)
	}
	return out
}
