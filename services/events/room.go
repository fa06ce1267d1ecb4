package events

import (
	"context"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/internal/stale"
)

const (
	// freshness is how long a measure of a namespace's topics is good for while
	// Redis answers. What this process writes meanwhile is counted, what others
	// write is not.
	freshness = 2 * time.Second
	// recheck is how old a measure that refuses may be: somebody may have made room.
	recheck = 200 * time.Millisecond
	// overhead is what Redis needs for an event beside its bytes, about.
	overhead = 64
)

// room knows what topics take, so that no namespace takes more than its plan
// gives it and no topic more than the server does. Between processes it is late
// by freshness, or by stale.MaxAge while Redis is hard to reach.
type room struct {
	db     db
	limits limits
	trims  singleflight.Group
	spaces *stale.Cache[space]
}

// space is what one namespace takes.
type space struct {
	mu     sync.Mutex
	bytes  int64
	topics map[string]int64 // by the stream's key
	// written is what this process has written, since some measure: the one that is
	// being taken does not know what came meanwhile.
	written map[string]int64
}

func newRoom(d db, l limits, now func() time.Time) *room {
	return &room{db: d, limits: l, spaces: stale.New(now, func(ctx context.Context, namespace string, s *space) (func(), error) {
		before := s.soFar()
		sizes, err := d.sizes(ctx, namespace)
		return func() { s.replace(sizes, before) }, err
	})}
}

// take makes room for events of a topic, or says that there is none. That it does
// not say by an old measure, even if it cannot take another.
func (r *room) take(ctx context.Context, t topic, blobs ...[]byte) error {
	limit, plan, err := r.limits.bytes(ctx, t.namespace)
	if err != nil {
		return err
	}
	var more int64
	for _, b := range blobs {
		more += int64(len(b)) + overhead
	}
	s, err := r.spaces.Get(ctx, t.namespace, freshness)
	if err != nil {
		return away("measure topics", err)
	}
	topicBytes, ok := s.add(t.key(), more, limit)
	if !ok {
		if s, err = r.spaces.Fresh(ctx, t.namespace, recheck); err != nil {
			return away("measure topics", err)
		}
		topicBytes, ok = s.add(t.key(), more, limit)
	}
	if !ok {
		return plans.Over(plans.Met{Plan: plan, Limit: "event_bytes", Most: limit, Remedy: "delete topics or dead letters, or wait until events expire"},
			"the events of namespace %q may take %d bytes", t.namespace, limit)
	}
	return r.shorten(ctx, t, topicBytes)
}

// shorten removes the oldest events of a topic that takes more than the server
// gives. The sweeper would, too, but for a minute it could grow.
func (r *room) shorten(ctx context.Context, t topic, bytes int64) error {
	most := r.limits.opts.MaxBytes
	if bytes <= most+most/16 {
		return nil
	}
	_, err, _ := r.trims.Do(t.key(), func() (any, error) { return nil, r.db.trimTo(ctx, t.key(), most) })
	if err == nil {
		r.spaces.Forget(t.namespace)
	}
	return away("remove the oldest events", err)
}

// add counts bytes if they are allowed, and answers what the topic takes then.
func (s *space) add(key string, more int64, limit plans.Limit) (topicBytes int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !limit.Allows(s.bytes + more) {
		return 0, false
	}
	s.bytes += more
	s.topics[key] += more
	s.written[key] += more
	return s.topics[key], true
}

// soFar answers what was written until now.
func (s *space) soFar() map[string]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.written)
}

// replace notes what was measured of all topics, and counts what was written
// since, after what there was before.
func (s *space) replace(sizes, before map[string]int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, n := range s.written {
		if since := n - before[key]; since > 0 {
			sizes[key] += since
		}
	}
	s.topics, s.bytes, s.written = sizes, 0, map[string]int64{}
	for _, n := range sizes {
		s.bytes += n
	}
}
