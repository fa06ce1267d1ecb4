package stale

import (
	"context"
	"sync"
	"time"
)

const (
	// Patience is how old a reading may grow before those who wait for it go on
	// with the copy: they lose this once with each reading, however many they are.
	// Redis answers in milliseconds, so that who has not asked for some seconds does
	// not decide by what was then.
	Patience = 100 * time.Millisecond
	// MaxAge is how old a copy may be while readings are late or fail: so old that
	// one can fail, which takes up to 5 s, and another be made.
	MaxAge = 10 * time.Second
	// readWithin bounds a reading: one that succeeds is not as old as MaxAge, even
	// if its last command took as long again.
	readWithin = MaxAge / 2
	// unused is how long a copy is kept that nobody asks for.
	unused = time.Minute
)

// Cache has copies by their keys.
type Cache[T any] struct {
	now  func() time.Time
	read Read[T]

	mu     sync.Mutex
	copies map[string]*entry[T]
}

// Read reads what a copy is of, and answers put, which writes it there. Put is not
// called when the copy was forgotten meanwhile; it must not use the Cache. Others
// use the copy at the same time: a lock on it is its own.
type Read[T any] func(ctx context.Context, key string, old *T) (put func(), err error)

type entry[T any] struct {
	copy T
	// began is when its reading did; zero when the copy is of no use.
	began   time.Time
	used    time.Time
	reading *reading // under way; nil when there is none
}

type reading struct {
	began      time.Time
	late, done chan struct{} // closed after Patience, and at the end
	err        error         // when it is done
}

// New makes a Cache that has no copies.
func New[T any](now func() time.Time, read Read[T]) *Cache[T] {
	return &Cache[T]{now: now, read: read, copies: map[string]*entry[T]{}}
}

// Get answers a copy that is no older than age. When reading it is late or fails,
// one that is not as old as MaxAge will do.
func (c *Cache[T]) Get(ctx context.Context, key string, age time.Duration) (*T, error) {
	return c.get(ctx, key, age, MaxAge)
}

// Fresh answers a copy that was no older than age when it was asked for, or why
// there is none.
func (c *Cache[T]) Fresh(ctx context.Context, key string, age time.Duration) (*T, error) {
	return c.get(ctx, key, age, 0)
}

func (c *Cache[T]) get(ctx context.Context, key string, age, most time.Duration) (*T, error) {
	asked := c.now()
	since := asked.Add(-age)
	for {
		e, r := c.begin(key, since)
		if r == nil {
			return &e.copy, nil
		}
		late := r.late
		if !c.younger(e, most) {
			late = nil // there is nothing to go on with
		}
		var err error
		select {
		case <-r.done:
			err = r.err
		case <-late:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if c.younger(e, most) {
			return &e.copy, nil
		}
		if err != nil && !r.began.Before(asked) { // another may do better than one that others began
			return nil, err
		}
	}
}

// begin answers the reading that is under way, or begins one; nil when the copy
// is of what was there since then.
func (c *Cache[T]) begin(key string, since time.Time) (*entry[T], *reading) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, e := c.now(), c.copies[key]
	if e == nil {
		e = &entry[T]{}
		c.copies[key] = e
	}
	e.used = now
	if e.began.After(since) {
		return e, nil
	}
	if e.reading == nil {
		e.reading = &reading{began: now, late: make(chan struct{}), done: make(chan struct{})}
		go c.renew(key, e, e.reading) // ends soon after readWithin
	}
	return e, e.reading
}

func (c *Cache[T]) younger(e *entry[T], age time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now().Sub(e.began) < age
}

func (c *Cache[T]) renew(key string, e *entry[T], r *reading) {
	defer close(r.done)
	defer time.AfterFunc(Patience, func() { close(r.late) }).Stop()
	ctx, cancel := context.WithTimeout(context.Background(), readWithin) // others wait for it, too
	defer cancel()
	put, err := c.read(ctx, key, &e.copy)
	c.mu.Lock()
	defer c.mu.Unlock()
	r.err = err
	if e.reading != r {
		return // forgotten meanwhile
	}
	e.reading = nil
	if err == nil {
		put()
		e.began = r.began
	}
}

// Forget has nobody use a copy, or what a reading finds that is under way.
func (c *Cache[T]) Forget(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.copies[key]; e != nil {
		e.began, e.reading = time.Time{}, nil
	}
}

// Prune drops copies that nobody asks for.
func (c *Cache[T]) Prune() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, e := range c.copies {
		if c.now().Sub(e.used) > unused {
			delete(c.copies, key)
		}
	}
}
