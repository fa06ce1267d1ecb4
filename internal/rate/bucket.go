package rate

import (
	"math"
	"sync"
	"time"
)

// bucket is what this process holds of a key's tokens.
type bucket struct {
	key Key

	mu       sync.Mutex
	rate     int64
	burst    int64
	tokens   float64
	empty    time.Time     // until then there is none in Redis
	asked    chan struct{} // closed when the answer is there; nil when nothing was asked
	waiting  int64         // what is wanted by calls that wait for the answer
	seen     int64         // taken or refused since counted
	counted  time.Time
	demand   float64   // what is wanted in a second, lately
	used     time.Time // when a call came last
	leased   bool      // Redis has answered once
	refilled time.Time // while Redis is away
}

const (
	// window is what a block is to last for.
	window = 100 * time.Millisecond
	// pause is the least time between two questions while there is nothing.
	pause = 20 * time.Millisecond
	// counting is the least time that calls are counted for.
	counting = 50 * time.Millisecond
)

// want is how many tokens to ask for. The caller holds mu.
func (b *bucket) want() int64 {
	least := max(float64(b.burst)/50, 1)
	n := max(b.demand*window.Seconds(), least) + float64(b.waiting)
	return int64(math.Ceil(min(n, float64(b.burst))))
}

// count notes that n are wanted. The caller holds mu.
func (b *bucket) count(now time.Time, n int64) {
	b.used = now
	b.seen += n
	past := now.Sub(b.counted)
	if past < counting {
		return
	}
	lately := float64(b.seen) / past.Seconds()
	if past > time.Second { // the calls of long ago say nothing
		b.demand = lately
	} else {
		b.demand = (b.demand + lately) / 2
	}
	b.seen, b.counted = 0, now
}

// refill adds what a share of the limit gives, while Redis is away. The caller
// holds mu.
func (b *bucket) refill(now time.Time, share float64) {
	most := max(float64(b.burst)*share, 1)
	switch {
	case b.refilled.IsZero() && !b.leased:
		b.tokens = most / 2 // how full it is, nobody knows
	case !b.refilled.IsZero():
		b.tokens += now.Sub(b.refilled).Seconds() * float64(b.rate) * share
	}
	b.tokens = min(b.tokens, most)
	b.refilled = now
}

// answer takes in what Redis has granted of what was wanted. The caller holds
// mu.
func (b *bucket) answer(now time.Time, granted, wanted int64, more time.Duration) {
	b.tokens += float64(granted)
	b.leased, b.refilled = true, time.Time{}
	if granted < wanted {
		b.empty = now.Add(max(more, pause))
	}
	b.answered()
}

// answered wakes those who wait. The caller holds mu.
func (b *bucket) answered() {
	if b.asked != nil {
		close(b.asked)
		b.asked = nil
	}
}

// back takes out what an idle bucket has, to be given back.
func (b *bucket) back(now time.Time) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.asked != nil || b.tokens < 1 || now.Sub(b.used) < idle {
		return 0
	}
	n := math.Floor(b.tokens)
	b.tokens -= n
	b.demand = 0
	return int64(n)
}
