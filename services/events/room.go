package events

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/micro/platform/billing/plans"
)

const (
	// freshness is how long a measure of a namespace's topics is good for. What
	// this process writes meanwhile is counted, what others write is not.
	freshness = 2 * time.Second
	// recheck is how old a measure is at least before one that refuses is taken
	// again: somebody may have made room.
	recheck = 200 * time.Millisecond
	// measureWithin bounds a measure.
	measureWithin = 5 * time.Second
	// overhead is what Redis needs for an event beside its bytes, about.
	overhead = 64
)

// room knows what topics take, so that no namespace takes more than its plan
// gives it and no topic more than the server does. Between processes it is late
// by freshness.
type room struct {
	db      db
	limits  limits
	now     func() time.Time
	running singleflight.Group

	mu     sync.Mutex
	spaces map[string]*space
}

// space is what one namespace takes. room's lock guards it.
type space struct {
	measured time.Time
	used     time.Time
	bytes    int64
	topics   map[string]int64 // by the stream's key
	// written is what this process has written, ever: the measure does not know
	// what came while it was taken.
	written int64
}

func newRoom(d db, l limits) *room {
	return &room{db: d, limits: l, now: time.Now, spaces: map[string]*space{}}
}

// take makes room for events of a topic, or says that there is none.
func (r *room) take(ctx context.Context, t topic, blobs ...[]byte) error {
	limit, plan, err := r.limits.bytes(ctx, t.namespace)
	if err != nil {
		return err
	}
	var more int64
	for _, b := range blobs {
		more += int64(len(b)) + overhead
	}
	for _, age := range []time.Duration{freshness, recheck} {
		if err := r.measure(ctx, t.namespace, age); err != nil {
			return away("measure topics", err)
		}
		if topicBytes, ok := r.add(t, more, limit); ok {
			return r.shorten(ctx, t, topicBytes)
		}
	}
	return plans.Over(plans.Met{Plan: plan, Limit: "event_bytes", Most: limit, Remedy: "delete topics or dead letters, or wait until events expire"},
		"the events of namespace %q may take %d bytes", t.namespace, limit)
}

// add counts bytes if they are allowed, and answers what the topic takes then.
func (r *room) add(t topic, more int64, limit plans.Limit) (topicBytes int64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.spaces[t.namespace]
	if s == nil || !limit.Allows(s.bytes+more) {
		return 0, false
	}
	s.bytes += more
	s.written += more
	s.topics[t.key()] += more
	return s.topics[t.key()], true
}

// shorten removes the oldest events of a topic that takes more than the server
// gives. The sweeper would, too, but for a minute it could grow.
func (r *room) shorten(ctx context.Context, t topic, bytes int64) error {
	most := r.limits.opts.MaxBytes
	if bytes <= most+most/16 {
		return nil
	}
	_, err, _ := r.running.Do(t.key(), func() (any, error) { return nil, r.db.trimTo(ctx, t.key(), most) })
	r.forget(t.namespace)
	return away("remove the oldest events", err)
}

// forget makes the next look at a namespace a fresh one.
func (r *room) forget(namespace string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.spaces[namespace]; s != nil {
		s.measured = time.Time{}
	}
}

// measure sees that a namespace was measured within age. Those who come when it
// was not share one measure.
func (r *room) measure(ctx context.Context, namespace string, age time.Duration) error {
	r.mu.Lock()
	s := r.spaces[namespace]
	if s == nil {
		s = &space{}
		r.spaces[namespace] = s
	}
	s.used = r.now()
	fresh := r.now().Sub(s.measured) < age
	r.mu.Unlock()
	if fresh {
		return nil
	}
	select {
	case done := <-r.running.DoChan("/"+namespace, func() (any, error) { return nil, r.look(namespace, s) }):
		return done.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *room) look(namespace string, s *space) error {
	ctx, cancel := context.WithTimeout(context.Background(), measureWithin) // others wait for it, too
	defer cancel()
	r.mu.Lock()
	before := s.written
	r.mu.Unlock()
	sizes, err := r.db.sizes(ctx, namespace)
	if err != nil {
		return fmt.Errorf("measure %s: %w", namespace, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s.measured, s.topics, s.bytes = r.now(), sizes, s.written-before
	for _, n := range sizes {
		s.bytes += n
	}
	return nil
}

// prune forgets namespaces that nobody publishes to.
func (r *room) prune() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for namespace, s := range r.spaces {
		if r.now().Sub(s.used) > time.Minute {
			delete(r.spaces, namespace)
		}
	}
}
