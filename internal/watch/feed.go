package watch

import (
	"context"
	"sync"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

// queueSize is how many changes a watcher may be behind.
const queueSize = 1024

// Feed tells watchers a state and then its changes, in order and without a gap.
// The state is its owner's, who touches it only in functions given to the Feed.
type Feed[T any] struct {
	ready chan struct{} // closed when there is a state

	mu       sync.Mutex // the owner's state as well
	watchers map[*watcher[T]]struct{}
}

// watcher is one stream. It is cut off when its queue is full.
type watcher[T any] struct {
	queue chan T
	cut   chan struct{}
}

// NewFeed makes a Feed whose state is not there yet.
func NewFeed[T any]() *Feed[T] {
	return &Feed[T]{ready: make(chan struct{}), watchers: map[*watcher[T]]struct{}{}}
}

// Replace has put set a whole state. Watchers of the one before start anew: they
// may have missed something.
func (f *Feed[T]) Replace(put func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	put()
	for w := range f.watchers {
		f.drop(w)
	}
	select {
	case <-f.ready:
	default:
		close(f.ready)
	}
}

// Change has put change the state, and tells the watchers. That is one step, so a
// new watcher has the change either in its snapshot or in its queue.
func (f *Feed[T]) Change(change T, put func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	put()
	for w := range f.watchers {
		select {
		case w.queue <- change:
		default:
			f.drop(w)
		}
	}
}

// Look waits until there is a state, and calls do while nothing changes it.
func (f *Feed[T]) Look(ctx context.Context, do func()) error {
	select {
	case <-f.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
	return nil
}

// Serve sends what snapshot makes of the state, and every change after it, for
// as long as ctx lives. A watcher that is too slow gets an error, and so do all
// when the state is replaced. send must fail once ctx has ended, which may be
// after Serve is back: a gRPC stream's does.
func (f *Feed[T]) Serve(ctx context.Context, snapshot func() []T, send func(T) error) error {
	w := &watcher[T]{queue: make(chan T, queueSize), cut: make(chan struct{})}
	var first []T
	err := f.Look(ctx, func() {
		first = snapshot()
		f.watchers[w] = struct{}{}
	})
	if err != nil {
		return err
	}
	defer f.leave(w)
	sent := make(chan error, 1)
	go func() { sent <- w.run(ctx, first, send) }()
	select {
	case err := <-sent:
		return err
	case <-w.cut:
		return cutOff()
	}
}

// leave ends a watcher that has not been cut off.
func (f *Feed[T]) leave(w *watcher[T]) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.watchers[w]; ok {
		f.drop(w)
	}
}

// drop cuts a watcher off. The caller holds mu.
func (f *Feed[T]) drop(w *watcher[T]) {
	delete(f.watchers, w)
	close(w.cut)
}

func (w *watcher[T]) run(ctx context.Context, first []T, send func(T) error) error {
	for _, x := range first {
		if err := send(x); err != nil {
			return err
		}
	}
	for {
		select {
		case x := <-w.queue:
			if err := send(x); err != nil {
				return err
			}
		case <-w.cut:
			return cutOff()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func cutOff() error {
	return errors.New(codes.Unavailable, "watch again: the changes came faster than they were read, or the database was away")
}
