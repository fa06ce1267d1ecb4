package store

import (
	"context"
	"sync"
	"time"
)

// freshness is how long what other processes have written may be unknown here.
// The scripts keep the limits of a table exactly; those of a namespace are
// exact in one process, and late by this between several.
const freshness = time.Second

// usage is what namespaces are known to hold.
type usage struct {
	db  db
	now func() time.Time

	mu     sync.Mutex
	spaces map[string]*space
}

// space is what one namespace holds.
type space struct {
	mu      sync.Mutex
	read    time.Time
	used    time.Time
	tables  map[unit]size
	records size // of all tables
	blobs   size
}

func newUsage(d db) *usage {
	return &usage{db: d, now: time.Now, spaces: map[string]*space{}}
}

// space answers a namespace that was read lately.
func (g *usage) space(ctx context.Context, namespace string) (*space, error) {
	now := g.now()
	g.mu.Lock()
	s := g.spaces[namespace]
	if s == nil {
		s = &space{}
		g.spaces[namespace] = s
	}
	g.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = now
	if s.tables != nil && now.Sub(s.read) < freshness {
		return s, nil
	}
	tables, err := g.db.tables(ctx, namespace)
	if err != nil {
		return nil, err
	}
	s.read, s.tables, s.records, s.blobs = now, tables, size{}, size{}
	for u, have := range tables {
		s.add(u, have)
	}
	return s, nil
}

func (s *space) add(u unit, have size) {
	sum := &s.records
	if u.table == "" {
		sum = &s.blobs
	}
	sum.keys += have.keys
	sum.bytes += have.bytes
}

// allowed answers what a table may hold so that its namespace stays within its
// limits.
func (s *space) allowed(u unit, l limits) size {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum, limit, have := s.records, l.of(u), s.tables[u]
	if u.table == "" {
		sum = s.blobs
	}
	bytes := min(limit.bytes-sum.bytes, l.together-s.records.bytes-s.blobs.bytes)
	return size{max(0, limit.keys-sum.keys+have.keys), max(0, bytes+have.bytes)}
}

// set notes what a table holds now.
func (s *space) set(u unit, have size) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.tables[u]
	s.tables[u] = have
	s.add(u, size{have.keys - was.keys, have.bytes - was.bytes})
}

// known answers how many tables there are, and whether u is one of them.
func (s *space) known(u unit) (n int, found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, found = s.tables[u]
	n = len(s.tables)
	if _, blobs := s.tables[blobIndex(u.namespace)]; blobs {
		n--
	}
	return n, found
}

// forget makes the next look at a namespace a fresh one.
func (g *usage) forget(namespace string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.spaces, namespace)
}

// prune forgets namespaces that nobody writes to.
func (g *usage) prune() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for namespace, s := range g.spaces {
		s.mu.Lock()
		if g.now().Sub(s.used) > time.Minute {
			delete(g.spaces, namespace)
		}
		s.mu.Unlock()
	}
}

// sums answers what all tables hold, and all blobs.
func (s *space) sums() (records, blobs size) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records, s.blobs
}
