package watch

import (
	"context"
	"io"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

// counter is a state that is served: how often it was changed.
type counter struct {
	*Feed[int]
	n int
}

func (c *counter) add() { c.Change(c.n+1, func() { c.n++ }) }

// watching is one Serve.
type watching struct {
	got   chan int
	ended chan error
}

func (c *counter) watch(ctx context.Context) watching {
	w := watching{make(chan int, 2*queueSize), make(chan error, 1)}
	go func() {
		w.ended <- c.Serve(ctx, func() []int { return []int{c.n} }, func(n int) error { w.got <- n; return nil })
	}()
	return w
}

// expect wants these and nothing more.
func (w watching) expect(t *testing.T, want ...int) {
	t.Helper()
	synctest.Wait()
	for _, n := range want {
		select {
		case got := <-w.got:
			if got != n {
				t.Errorf("got %d, want %d", got, n)
			}
		default:
			t.Errorf("got nothing, want %d", n)
		}
	}
	select {
	case got := <-w.got:
		t.Errorf("got %d, want nothing", got)
	default:
	}
}

func TestChangesFollowTheSnapshot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := &counter{Feed: NewFeed[int]()}
		early := c.watch(ctx)
		early.expect(t)
		c.Replace(func() { c.n = 10 })
		early.expect(t, 10)
		c.add()
		late := c.watch(ctx)
		early.expect(t, 11)
		late.expect(t, 11)
		c.add()
		early.expect(t, 12)
		late.expect(t, 12)
		cancel()
		for _, w := range []watching{early, late} {
			if err := <-w.ended; !errors.Is(err, context.Canceled) {
				t.Errorf("Serve = %v, want Canceled", err)
			}
		}
		if len(c.watchers) != 0 {
			t.Error("who has left is still told of changes")
		}
	})
}

func TestReplacedStateEndsWatchers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &counter{Feed: NewFeed[int]()}
		c.Replace(func() {})
		w := c.watch(t.Context())
		w.expect(t, 0)
		c.Replace(func() { c.n = 5 })
		if err := <-w.ended; errors.Code(err) != codes.Unavailable {
			t.Errorf("Serve = %v, want Unavailable", err)
		}
		w.expect(t)
	})
}

// TestSlowWatcherIsCutOff shows that who does not read is not waited for.
func TestSlowWatcherIsCutOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := &counter{Feed: NewFeed[int]()}
		c.Replace(func() {})
		ended := make(chan error, 1)
		go func() {
			ended <- c.Serve(ctx, func() []int { return []int{0} }, func(int) error { <-ctx.Done(); return io.EOF })
		}()
		quick := c.watch(ctx)
		synctest.Wait()
		for range queueSize {
			c.add()
			synctest.Wait()
		}
		select {
		case err := <-ended:
			t.Errorf("Serve = %v before the queue was full", err)
		default:
		}
		c.add()
		if err := <-ended; errors.Code(err) != codes.Unavailable {
			t.Errorf("Serve = %v, want Unavailable", err)
		}
		synctest.Wait()
		if len(c.watchers) != 1 || len(quick.got) != queueSize+2 {
			t.Errorf("%d watchers, and the quick one got %d; want 1 and %d", len(c.watchers), len(quick.got), queueSize+2)
		}
		cancel()
		<-quick.ended
	})
}

func TestNoStateIsWaitedFor(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f := NewFeed[int]()
	if err := f.Look(ctx, func() { t.Error("looked at no state") }); !errors.Is(err, context.Canceled) {
		t.Errorf("Look = %v, want Canceled", err)
	}
	if err := f.Serve(ctx, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Serve = %v, want Canceled", err)
	}
}
