package edge

import (
	"net/netip"
	"sync"
	"time"
)

// maxSources bounds the addresses or networks that are remembered, about 100
// bytes each.
const maxSources = 50_000

// rates bounds how often something may happen for each of many networks: each
// has a bucket that fills again.
type rates struct {
	each, burst float64 // a second, and at once
	now         func() time.Time

	mu   sync.Mutex
	from map[netip.Prefix]*bucket
}

type bucket struct {
	left float64
	at   time.Time // when left was right
}

func newRates(each, burst float64) *rates {
	return &rates{each: each, burst: burst, now: time.Now, from: map[netip.Prefix]*bucket{}}
}

// take takes one from a network's bucket, or answers false if it is empty.
func (r *rates) take(who netip.Prefix) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.bucket(who)
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// giveBack puts one into a network's bucket again.
func (r *rates) giveBack(who netip.Prefix) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.bucket(who)
	b.left = min(r.burst, b.left+1)
}

// bucket answers what is left for a network. The caller holds mu.
func (r *rates) bucket(who netip.Prefix) *bucket {
	now := r.now()
	b := r.from[who]
	if b == nil {
		r.makeRoom(now)
		b = &bucket{left: r.burst, at: now}
		r.from[who] = b
	}
	b.left = min(r.burst, b.left+r.each*now.Sub(b.at).Seconds())
	b.at = now
	return b
}

// makeRoom forgets a few networks when there are too many: those whose bucket is
// full again, and at least one. The caller holds mu.
func (r *rates) makeRoom(now time.Time) {
	if len(r.from) < maxSources {
		return
	}
	const few = 32
	seen := 0
	for who, b := range r.from { // in random order
		if seen == 0 || b.left+r.each*now.Sub(b.at).Seconds() >= r.burst {
			delete(r.from, who)
		}
		if seen++; seen == few {
			return
		}
	}
}
