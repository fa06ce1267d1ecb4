package stale

import (
	"context"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/micro/platform/framework/errors"
)

const fresh = time.Second

// source is what the copies are of: a number that grows with each reading. A
// reading takes as long as it does when it begins.
type source struct {
	*Cache[int]

	mu    sync.Mutex
	began int
	takes time.Duration
	fails error
}

func newSource() *source {
	s := &source{}
	s.Cache = New(time.Now, func(_ context.Context, _ string, n *int) (func(), error) {
		s.mu.Lock()
		s.began++
		reading, takes, err := s.began, s.takes, s.fails
		s.mu.Unlock()
		if takes > 0 {
			<-time.After(takes)
		}
		return func() { *n = reading }, err
	})
	return s
}

// next is how readings go from here on.
func (s *source) next(takes time.Duration, fails error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takes, s.fails = takes, fails
}

func (s *source) readings() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.began
}

// expect calls get and wants a copy of a reading after just so long.
func expect(t *testing.T, get func(context.Context, string, time.Duration) (*int, error), want int, after time.Duration) {
	t.Helper()
	began := time.Now()
	got, err := get(t.Context(), "k", fresh)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); *got != want || took != after {
		t.Errorf("got reading %d after %v, want %d after %v", *got, took, want, after)
	}
}

func TestCopyIsReadWhenItIsNotFresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		s.next(Patience/2, nil)
		expect(t, s.Get, 1, Patience/2)
		expect(t, s.Fresh, 1, 0)
		<-time.After(fresh)
		expect(t, s.Get, 2, Patience/2)
		if _, err := s.Get(t.Context(), "another", fresh); err != nil || s.readings() != 3 {
			t.Errorf("another key: %d readings, %v", s.readings(), err)
		}
	})
}

// TestLateReading shows that those who wait lose Patience together, and get the
// copy until it is too old.
func TestLateReading(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		expect(t, s.Get, 1, 0)
		<-time.After(MaxAge - fresh)
		s.next(2*fresh, nil)
		expect(t, s.Get, 1, Patience)
		for range 10 {
			expect(t, s.Get, 1, 0)
		}
		<-time.After(fresh - Patience)
		expect(t, s.Get, 2, fresh)
		if n := s.readings(); n != 2 {
			t.Errorf("%d readings, want 2", n)
		}
	})
}

// TestFresh shows that no older copy will do, nor a reading that began too early.
func TestFresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		expect(t, s.Get, 1, 0)
		<-time.After(fresh)
		s.next(3*fresh, nil)
		expect(t, s.Get, 1, Patience)
		<-time.After(2*fresh - Patience)
		s.next(2*fresh, nil)
		expect(t, s.Fresh, 3, 3*fresh) // 1 s of the second and 2 s of the third
		<-time.After(fresh)
		s.next(0, io.EOF)
		if _, err := s.Fresh(t.Context(), "k", fresh); !errors.Is(err, io.EOF) {
			t.Errorf("Fresh = %v, want why it is not", err)
		}
		expect(t, s.Get, 3, 0)
	})
}

func TestFailedReading(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		s.next(0, io.EOF)
		if _, err := s.Get(t.Context(), "k", fresh); !errors.Is(err, io.EOF) {
			t.Errorf("Get of nothing = %v, want why", err)
		}
		s.next(0, nil)
		expect(t, s.Get, 2, 0)
		<-time.After(MaxAge - 1)
		s.next(0, io.EOF)
		expect(t, s.Get, 2, 0)
		<-time.After(1)
		if _, err := s.Get(t.Context(), "k", fresh); !errors.Is(err, io.EOF) {
			t.Errorf("Get of what is too old = %v, want why", err)
		}
	})
}

func TestCallerGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		s.next(fresh, nil)
		ctx, cancel := context.WithTimeout(t.Context(), Patience)
		defer cancel()
		if _, err := s.Get(ctx, "k", fresh); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Get = %v, want DeadlineExceeded", err)
		}
		expect(t, s.Get, 1, fresh-Patience)
	})
}

// TestForgotten shows that neither the copy is used any more nor what a reading
// finds that began before.
func TestForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		expect(t, s.Get, 1, 0)
		<-time.After(fresh)
		s.next(fresh, nil)
		expect(t, s.Get, 1, Patience)
		s.Forget("k")
		s.next(fresh/2, nil)
		expect(t, s.Get, 3, fresh/2)
		<-time.After(fresh/2 - Patience) // the second has ended
		expect(t, s.Fresh, 3, 0)
	})
}

func TestPrune(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		expect(t, s.Get, 1, 0)
		<-time.After(unused)
		if _, err := s.Get(t.Context(), "used", fresh); err != nil {
			t.Fatal(err)
		}
		<-time.After(1)
		s.Prune()
		var left []string
		for key := range s.copies {
			left = append(left, key)
		}
		if diff := cmp.Diff([]string{"used"}, left); diff != "" {
			t.Error(diff)
		}
	})
}
