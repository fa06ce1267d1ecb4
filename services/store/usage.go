package store

import (
	"context"
	"sync"
	"time"

	"github.com/micro/platform/internal/stale"
)

// freshness is how old what is known of a namespace may be while Redis answers.
// The scripts keep the limits of a table exactly. Those of a namespace are exact
// in one process; what others write counts when it is read, and so may go over
// a limit.
const freshness = time.Second

// space is what one namespace is known to hold.
type space struct {
	mu      sync.Mutex
	tables  map[unit]table
	records size // of all tables
	blobs   size
	writes  int64 // by this process, ever
}

type table struct {
	size
	written int64 // which of the writes was the last to it; 0 if none was
}

// newUsage is what namespaces are known to hold.
func newUsage(d db, now func() time.Time) *stale.Cache[space] {
	return stale.New(now, func(ctx context.Context, namespace string, s *space) (func(), error) {
		before := s.count()
		tables, err := d.tables(ctx, namespace)
		return func() { s.replace(tables, before) }, err
	})
}

// count answers how many writes there were.
func (s *space) count() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

// replace notes what was read of all tables. What was written since, after the
// writes before, counts as it was answered.
func (s *space) replace(tables map[unit]size, before int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := make(map[unit]table, len(tables))
	for u, have := range tables {
		known[u] = table{size: have}
	}
	for u, t := range s.tables {
		if t.written > before {
			known[u] = t
		}
	}
	s.tables, s.records, s.blobs = known, size{}, size{}
	for u, t := range known {
		s.add(u, t.size)
	}
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
	s.writes++
	s.tables[u] = table{have, s.writes}
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

// sums answers what all tables hold, and all blobs.
func (s *space) sums() (records, blobs size) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records, s.blobs
}
