package store

import (
	"context"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// freshness is how long what other processes have written may be unknown here.
// The scripts keep the limits of a table exactly; those of a namespace are
// exact in one process, and late by this between several.
const freshness = time.Second

// readWithin bounds a look at a namespace.
const readWithin = 10 * time.Second

// usage is what namespaces are known to hold.
type usage struct {
	db      db
	now     func() time.Time
	reading singleflight.Group

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
	// meanwhile is what was written since a reading began; nil when there is none.
	meanwhile map[unit]size
	stale     bool // what is being read is of no use any more
}

func newUsage(d db) *usage {
	return &usage{db: d, now: time.Now, spaces: map[string]*space{}}
}

// space answers a namespace that was read lately. Those who come when it was
// not share one reading.
func (g *usage) space(ctx context.Context, namespace string) (*space, error) {
	g.mu.Lock()
	s := g.spaces[namespace]
	if s == nil {
		s = &space{}
		g.spaces[namespace] = s
	}
	g.mu.Unlock()
	if s.fresh(g.now()) {
		return s, nil
	}
	select {
	case read := <-g.reading.DoChan(namespace, func() (any, error) { return nil, g.read(namespace, s) }):
		return s, read.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// fresh says whether a namespace was read lately, and notes that it is in use.
func (s *space) fresh(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = now
	return s.tables != nil && now.Sub(s.read) < freshness
}

// read looks at all tables of a namespace. What is written meanwhile counts as
// it was answered.
func (g *usage) read(namespace string, s *space) error {
	ctx, cancel := context.WithTimeout(context.Background(), readWithin) // others wait for it, too
	defer cancel()
	now := g.now()
	s.mu.Lock()
	s.meanwhile, s.stale = map[unit]size{}, false
	s.mu.Unlock()
	tables, err := g.db.tables(ctx, namespace)
	s.mu.Lock()
	defer s.mu.Unlock()
	meanwhile := s.meanwhile
	s.meanwhile = nil
	if err != nil {
		return err
	}
	maps.Copy(tables, meanwhile)
	s.read, s.tables, s.records, s.blobs = now, tables, size{}, size{}
	if s.stale {
		s.read = time.Time{}
	}
	for u, have := range tables {
		s.add(u, have)
	}
	return nil
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
	if s.meanwhile != nil {
		s.meanwhile[u] = have
	}
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
	s := g.spaces[namespace]
	g.mu.Unlock()
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read, s.stale = time.Time{}, true
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
