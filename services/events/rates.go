package events

import (
	"sync"
	"time"
)

// maxBuckets bounds the namespaces whose rate is remembered; more than that do
// not publish within a second.
const maxBuckets = 100_000

// rates bounds what each namespace publishes in a second at this process. Unused
// allowance is kept for a second.
type rates struct {
	limit float64 // 0 is none

	mu      sync.Mutex
	buckets map[string]bucket
}

type bucket struct {
	left float64
	at   time.Time
}

func newRates(limit int) *rates { return &rates{limit: float64(limit), buckets: map[string]bucket{}} }

// take says whether a namespace may publish n events now.
func (r *rates) take(namespace string, n int, now time.Time) bool {
	if r.limit == 0 {
		return true
	}
	most := max(r.limit, float64(n)) // a batch may be more than that
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.buckets[namespace]
	if !ok {
		if len(r.buckets) >= maxBuckets {
			clear(r.buckets)
		}
		b = bucket{left: most, at: now}
	}
	b.left = min(most, b.left+now.Sub(b.at).Seconds()*r.limit)
	b.at = now
	may := float64(n) <= b.left
	if may {
		b.left -= float64(n)
	}
	r.buckets[namespace] = b
	return may
}
