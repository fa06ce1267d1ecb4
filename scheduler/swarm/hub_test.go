package swarm

import (
	"errors"
	"fmt"
	"testing"
	"time"

	schedulerpb "github.com/micro/platform/proto/scheduler"
	"github.com/micro/platform/scheduler/plan"
)

func state(s schedulerpb.Status_State, ids ...int64) map[plan.ID]*schedulerpb.Status {
	out := map[plan.ID]*schedulerpb.Status{}
	for _, n := range ids {
		id := plan.ID{Namespace: "ns", Service: "web", Version: "latest", Revision: n}
		out[id] = verdict{}.status(id)
		out[id].State = s
	}
	return out
}

// TestSlowWatcherGetsTheLatest holds a watcher up while states change.
func TestSlowWatcherGetsTheLatest(t *testing.T) {
	t.Parallel()
	h := newHub()
	seen, resume := make(chan string), make(chan struct{})
	go h.watch(t.Context(), func(s *schedulerpb.Status) error {
		seen <- fmt.Sprint(s.GetId().GetRevision(), s.GetState(), s.GetReady())
		<-resume
		return nil
	})
	next := func(want string) {
		t.Helper()
		select {
		case got := <-seen:
			if got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("no %s", want)
		}
	}
	h.set(state(starting, 1, 2))
	next("1 STARTING false")
	for _, s := range []schedulerpb.Status_State{running, failed, starting} {
		h.set(state(s, 1, 2, 3))
	}
	h.set(state(running, 1, 3)) // 2 is gone
	close(resume)
	// The rest of what was on its way, which may be older, and then the latest.
	next("2 STARTING false")
	next("0 PENDING true")
	next("1 RUNNING false")
	next("2 GONE false")
	next("3 RUNNING false")
	h.set(state(running, 1, 3)) // the same again is no change
	h.set(state(failed, 1))
	next("1 FAILED false")
	next("3 GONE false")
}

// TestWatchWaitsForTheFirstLook shows that nothing is called complete before
// Docker was looked at.
func TestWatchWaitsForTheFirstLook(t *testing.T) {
	t.Parallel()
	h := newHub()
	seen := make(chan *schedulerpb.Status, 1)
	go h.watch(t.Context(), func(s *schedulerpb.Status) error { seen <- s; return nil })
	select {
	case s := <-seen:
		t.Fatalf("got %v", s)
	case <-time.After(50 * time.Millisecond):
	}
	h.set(nil)
	select {
	case s := <-seen:
		if !s.GetReady() {
			t.Errorf("got %v", s)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("not ready")
	}
}

// TestWatchersAreSentAway: who watches hears that there is no more to come, and who
// asks while Docker is away gets nothing that was known before.
func TestWatchersAreSentAway(t *testing.T) {
	t.Parallel()
	h := newHub()
	h.set(map[plan.ID]*schedulerpb.Status{})
	over := errors.New("docker is away")
	began, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- h.watch(t.Context(), func(*schedulerpb.Status) error {
			close(began)
			return nil
		})
	}()
	<-began
	h.lose(over)
	if err := <-done; !errors.Is(err, over) {
		t.Errorf("the watcher heard %v", err)
	}
	if err := h.watch(t.Context(), func(s *schedulerpb.Status) error {
		t.Errorf("a later one hears %v", s)
		return nil
	}); !errors.Is(err, over) {
		t.Errorf("a later one heard %v", err)
	}
}
