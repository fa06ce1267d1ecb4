package edge

import (
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/connectivity"
)

const (
	// avoidedFor is how long others are preferred to a node behind a bad network:
	// as long as Envoy ejects outliers by default.
	avoidedFor = 30 * time.Second
	// farFactor and farMargin say how much longer than the quickest node's a round
	// trip is to one whose network is bad. The margin is more than a kernel puts
	// off an acknowledgement, 40 ms.
	farFactor = 2
	farMargin = 60 * time.Millisecond
	// lookEvery is how often an edge looks at the way to a node, at most.
	lookEvery = 50 * time.Millisecond
)

// node is an instance of a service, and the connection to it.
type node struct {
	id, address string

	suspect   atomic.Bool  // it broke off, and is not known to be connected since
	load      atomic.Int64 // calls in flight
	roundTrip atomic.Int64 // nanoseconds to it and back, 0 is not known
	avoided   atomic.Int64 // until when its network is taken to be bad, in Unix nanoseconds
	silent    atomic.Bool  // it has not acknowledged in time what it was sent, so far
	looked    atomic.Int64 // when the edge looked at the way to it, in Unix nanoseconds

	mu      sync.Mutex
	link    *link
	retired bool // closes when its last call has ended
}

// acquire answers a connection, for one call.
func (n *node) acquire() (*link, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.link == nil {
		l, err := newLink(n.address)
		if err != nil {
			return nil, err
		}
		l.over = n.retired // somebody still had an old route to it
		n.link = l
	}
	n.link.calls++
	n.load.Add(1)
	return n.link, nil
}

// release gives a connection back after a call.
func (n *node) release(l *link) {
	n.load.Add(-1)
	n.mu.Lock()
	defer n.mu.Unlock()
	if l.calls--; l.over {
		n.closeUnused(l)
	}
}

// closeUnused closes a connection that is over, after its last call. It wants mu
// held.
func (n *node) closeUnused(l *link) {
	if l.calls > 0 {
		return
	}
	go l.conn.Close() //nolint:errcheck // for some seconds it may wait for what is being written, and routes wait for nobody
	if n.link == l {
		n.link = nil
	}
}

// retire closes the connection as soon as no call is left on it.
func (n *node) retire() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.retired = true
	n.leave()
}

// replaced says whether the node was taken out of the routes.
func (n *node) replaced() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.retired
}

// leave gives the connection no more calls. It wants mu held.
func (n *node) leave() {
	if l := n.link; l != nil {
		l.over, n.link = true, nil
		n.closeUnused(l)
	}
}

// near says whether the way to a node is as good as to others, as it is now. If it
// has become much longer than the quickest one, it is not for a while.
func (n *node) near(quickest time.Duration, now time.Time) bool {
	if now.UnixNano() < n.avoided.Load() {
		return false
	}
	if looked := n.looked.Load(); now.UnixNano()-looked > int64(lookEvery) && n.looked.CompareAndSwap(looked, now.UnixNano()) {
		n.look(quickest, now)
	}
	return now.UnixNano() >= n.avoided.Load() && !n.silent.Load()
}

func (n *node) look(quickest time.Duration, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var w way
	if n.link != nil {
		w = n.link.look(now)
	}
	n.judge(w, quickest, now)
}

// judge wants mu held.
func (n *node) judge(w way, quickest time.Duration, now time.Time) {
	n.roundTrip.Store(int64(w.roundTrip))
	n.silent.Store(w.silent)
	if w.lossy || quickest > 0 && w.roundTrip > farFactor*quickest+farMargin {
		n.avoid(now)
	}
}

// avoid has others preferred for a while. What is known of the way to it then
// comes from another connection. It wants mu held.
func (n *node) avoid(now time.Time) {
	n.avoided.Store(now.Add(avoidedFor).UnixNano())
	n.roundTrip.Store(0)
	n.silent.Store(false)
	n.suspect.Store(false)
	n.leave()
}

// eject has others preferred to a node that did not answer, until it is connected
// again, which is tried at once and then up to every second.
func (n *node) eject() {
	n.suspect.Store(true)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.link != nil {
		n.link.conn.Connect()
	}
}

func (n *node) healthy() bool {
	if !n.suspect.Load() {
		return true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.link == nil || n.link.conn.GetState() != connectivity.Ready {
		return false
	}
	n.suspect.Store(false)
	return true
}

func (n *node) lighter(other *node) bool { return n.load.Load() < other.load.Load() }
