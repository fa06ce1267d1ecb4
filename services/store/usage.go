package store

import (
	"context"
	"maps"
	"sync"
	"time"
)

// The scripts keep the limits of a table exactly. Those of a namespace are exact
// in one process; what others write counts when it is looked at.
const (
	// freshness is how old what is known may be while Redis answers.
	freshness = time.Second
	// patience is how old a look may grow before those who wait for it go on with
	// what is known: they lose this once with each look, however many they are.
	// Redis answers in milliseconds, so that a process that has not written for
	// some seconds does not decide by what was then.
	patience = 200 * time.Millisecond
	// maxAge is how old what is known may be while Redis is hard to reach: so old
	// that one look can fail, which takes up to 5 s, and another be made. What
	// several processes write in this time may go over a limit.
	maxAge = 10 * time.Second
	// readWithin bounds a look at a namespace: one that succeeds is not as old as
	// maxAge, even if its last command took as long again.
	readWithin = maxAge / 2
)

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
	read    time.Time // zero when nothing is known, or of no use any more
	used    time.Time
	tables  map[unit]size
	records size // of all tables
	blobs   size
	look    *look // under way; nil when there is none
}

// look is one reading of all tables of a namespace, which all share who need it.
type look struct {
	began      time.Time
	late, done chan struct{} // closed after patience, and at the end
	err        error         // when it is done
	// meanwhile is what was written since it began. The space's lock guards it.
	meanwhile map[unit]size
}

func newUsage(d db) *usage {
	return &usage{db: d, now: time.Now, spaces: map[string]*space{}}
}

// space answers a namespace that was read lately. When the look at it is late or
// fails, what is known will do until it is maxAge old.
func (g *usage) space(ctx context.Context, namespace string) (*space, error) {
	g.mu.Lock()
	s := g.spaces[namespace]
	if s == nil {
		s = &space{}
		g.spaces[namespace] = s
	}
	g.mu.Unlock()
	for {
		l := g.look(namespace, s)
		if l == nil {
			return s, nil
		}
		late := l.late
		if !s.usable(g.now()) {
			late = nil // there is nothing to go on with
		}
		var err error
		select {
		case <-l.done:
			err = l.err
		case <-late:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if s.usable(g.now()) {
			return s, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// look answers the look at a namespace that is under way, or begins one; nil
// when the last was just now. It notes that the namespace is in use.
func (g *usage) look(namespace string, s *space) *look {
	now := g.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = now
	if now.Sub(s.read) < freshness {
		return nil
	}
	if s.look == nil {
		s.look = &look{began: now, late: make(chan struct{}), done: make(chan struct{}), meanwhile: map[unit]size{}}
		go g.read(namespace, s, s.look) // ends soon after readWithin
	}
	return s.look
}

// usable says whether what is known may be used.
func (s *space) usable(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Sub(s.read) < maxAge
}

// read looks at all tables of a namespace. What is written meanwhile counts as
// it was answered.
func (g *usage) read(namespace string, s *space, l *look) {
	defer close(l.done)
	defer time.AfterFunc(patience, func() { close(l.late) }).Stop()
	ctx, cancel := context.WithTimeout(context.Background(), readWithin) // others wait for it, too
	defer cancel()
	tables, err := g.db.tables(ctx, namespace)
	s.mu.Lock()
	defer s.mu.Unlock()
	l.err = err
	if s.look != l {
		return // forgotten meanwhile
	}
	s.look = nil
	if err != nil {
		return
	}
	maps.Copy(tables, l.meanwhile)
	s.read, s.tables, s.records, s.blobs = l.began, tables, size{}, size{}
	for u, have := range tables {
		s.add(u, have)
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
	if s.look != nil {
		s.look.meanwhile[u] = have
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

// forget has nobody use what is known of a namespace, or what a look that is
// under way finds.
func (g *usage) forget(namespace string) {
	g.mu.Lock()
	s := g.spaces[namespace]
	g.mu.Unlock()
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read, s.look = time.Time{}, nil
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
