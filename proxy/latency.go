package proxy

import (
	"math"
	"time"
)

const (
	// fade is how soon an edge forgets how long calls took at a node that gets
	// none: in that time to 1/e of it. A node that was slow is tried again.
	fade = 10 * time.Second
	// rise and fall are how much of a call that took longer, or less long, goes
	// into the average at least: one slow call is enough to see a bad network.
	rise, fall = 0.5, 0.125
	// slowFactor and slowMargin say from when on a node is slower than another:
	// below that, how many calls it has counts alone.
	slowFactor = 2
	slowMargin = 5 * time.Millisecond
	// slowWeight is how many calls at another node one at a slow node weighs at
	// most, so that what is slow helps out before the others have too much.
	slowWeight = 16
)

// average is how long the calls of an endpoint have lately taken at a node: an
// exponentially weighted moving average over time, that rises faster than it
// falls, as that of Finagle's load balancer "peak EWMA".
type average struct {
	took time.Duration
	at   time.Time
}

// add takes a call into account.
func (a *average) add(took time.Duration, now time.Time) {
	least := fall
	if took > a.took {
		least = rise
	}
	share := max(least, 1-a.left(now))
	a.took += time.Duration(share * float64(took-a.took))
	a.at = now
}

// lately answers the average, less the longer ago its last call was.
func (a *average) lately(now time.Time) time.Duration {
	return time.Duration(a.left(now) * float64(a.took))
}

func (a *average) left(now time.Time) float64 {
	return math.Exp(-float64(now.Sub(a.at)) / float64(fade))
}

// answered notes how long a call of an endpoint has taken.
func (n *node) answered(endpoint string, took time.Duration, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := n.took[endpoint]
	if a == nil {
		if n.took == nil {
			n.took = map[string]*average{}
		}
		a = &average{}
		n.took[endpoint] = a
	}
	a.add(took, now)
}

// gaveUp notes that a call of an endpoint has ended after so long, without an
// answer. It says nothing if others take as long.
func (n *node) gaveUp(endpoint string, took time.Duration, now time.Time) {
	if took > n.lately(endpoint, now) {
		n.answered(endpoint, took, now)
	}
}

// lately answers how long calls of an endpoint take, 0 if that is not known.
func (n *node) lately(endpoint string, now time.Time) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	if a := n.took[endpoint]; a != nil {
		return a.lately(now)
	}
	return 0
}

// better answers the one of two nodes that has less to do, where a call at a node
// weighs more that takes much longer for those of the endpoint.
func better(a, b *node, endpoint string, now time.Time) *node {
	x, y := a.lately(endpoint, now), b.lately(endpoint, now)
	if b.weight(y, x) < a.weight(x, y) {
		return b
	}
	return a
}

// weight is what one more call would be, at a node whose calls take so long
// beside another's.
func (n *node) weight(took, other time.Duration) float64 {
	load := float64(n.load.Load() + 1)
	if took <= slowFactor*other+slowMargin {
		return load
	}
	return load * min(slowWeight, float64(took)/float64(max(other, slowMargin)))
}
