package registry

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/pgtest"
	registrypb "github.com/micro/platform/proto/registry"
)

const patience = 10 * time.Second

// watching starts a Watch and answers its stream and how it ended.
func watching(t *testing.T, s *Service, ctx context.Context, domain string) (*stream, <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	st, ended := newStream(ctx), make(chan error, 1)
	go func() {
		ended <- s.Watch(&registrypb.WatchRequest{Options: &registrypb.Options{Domain: domain}}, st)
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		for range ended {
		}
	})
	return st, ended
}

// watched waits until the hub has so many watchers.
func watched(t *testing.T, s *Service, n int) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-time.After(time.Millisecond) {
		s.hub.mu.Lock()
		got := len(s.hub.watchers)
		s.hub.mu.Unlock()
		if got == n {
			return
		}
	}
	t.Fatalf("there are not %d watchers", n)
}

func next(t *testing.T, st *stream) *registrypb.Result {
	t.Helper()
	select {
	case r := <-st.results:
		return r
	case <-time.After(patience):
		t.Fatal("no result came")
		return nil
	}
}

func line(r *registrypb.Result) string {
	return fmt.Sprintf("%s %s/%s %d", r.GetAction(), r.GetService().GetOptions().GetDomain(), r.GetService().GetName(), len(r.GetService().GetNodes()))
}

// TestWatch shows what a namespace hears: its own changes and ends, no
// renewals, nothing of others.
func TestWatch(t *testing.T) {
	t.Parallel()
	s := setup(t)
	a := as(t, "a", "x")
	st, _ := watching(t, s, a, "")
	watched(t, s, 1)
	expect := func(want string) {
		t.Helper()
		if got := line(next(t, st)); got != want {
			t.Errorf("result = %q, want %q", got, want)
		}
	}
	register(t, s, as(t, "b", "x"), greeter("n1"))
	register(t, s, a, greeter("n1"))
	expect("create a/greeter 1")
	register(t, s, a, greeter("n1")) // a renewal
	register(t, s, a, greeter("n2"))
	expect("update a/greeter 2")
	if _, err := s.Deregister(a, &registrypb.Service{Name: "greeter", Version: "latest", Nodes: []*registrypb.Node{{Id: "n1"}}}); err != nil {
		t.Fatal(err)
	}
	expect("update a/greeter 1")
	expire(t, s)
	if err := s.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect("delete a/greeter 0")
}

// TestSnapshotThenChanges shows that a component misses nothing, whatever
// happens while the snapshot is on its way, and across processes.
func TestSnapshotThenChanges(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t, "registry")
	here, there := start(t, url), start(t, url)
	const before, during = 450, 50
	for i := range before {
		register(t, there, as(t, fmt.Sprintf("ns-%03d", i), "x"), greeter("n1"))
	}
	st, _ := watching(t, here, asComponent(t), everything)
	watched(t, here, 1)
	for i := range during {
		register(t, there, as(t, fmt.Sprintf("new-%03d", i), "x"), greeter("n1"))
	}
	seen := map[string]bool{}
	isReady := false
	for len(seen) < before+during || !isReady {
		r := next(t, st)
		if r.GetAction() == ready {
			isReady = true
			continue
		}
		seen[r.GetService().GetOptions().GetDomain()] = true
	}
}

// TestLostConnectionEndsWatches shows that watchers are told when changes may
// have been missed, and can watch again.
func TestLostConnectionEndsWatches(t *testing.T) {
	t.Parallel()
	s := setup(t)
	_, ended := watching(t, s, as(t, "a", "x"), "")
	watched(t, s, 1)
	const q = `
		SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
		WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid() AND query LIKE 'LISTEN%'`
	if _, err := s.db.pool.Exec(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if errors.Code(err) != codes.Unavailable {
			t.Errorf("Watch = %v, want Unavailable", err)
		}
	case <-time.After(patience):
		t.Fatal("the watch goes on")
	}
	st, _ := watching(t, s, as(t, "a", "x"), "")
	watched(t, s, 1)
	register(t, s, as(t, "a", "x"), greeter("n1"))
	next(t, st)
}

// TestSlowWatcherIsCutOff shows that what a watcher leaves lying is bounded.
func TestSlowWatcherIsCutOff(t *testing.T) {
	t.Parallel()
	w := &watcher{namespace: everything, pending: map[key]*registrypb.Result{}, wake: make(chan struct{}, 1)}
	result := &registrypb.Result{Action: updated}
	for i := range maxPending + 1 {
		w.offer(map[key]*registrypb.Result{{Namespace: fmt.Sprint(i)}: result})
	}
	if _, err := w.next(t.Context()); errors.Code(err) != codes.Unavailable {
		t.Errorf("next = %v, want Unavailable", err)
	}
}

// TestPendingChangesCollapse shows that only the newest state of a version
// waits.
func TestPendingChangesCollapse(t *testing.T) {
	t.Parallel()
	w := &watcher{namespace: everything, pending: map[key]*registrypb.Result{}, wake: make(chan struct{}, 1)}
	for _, action := range []string{created, updated, updated} {
		w.offer(map[key]*registrypb.Result{{Namespace: "a"}: {Action: action}})
	}
	results, err := w.next(t.Context())
	if err != nil || len(results) != 1 || results[0].GetAction() != created {
		t.Errorf("next = %v, %v; want one create", results, err)
	}
}

func TestWatchersAreLimited(t *testing.T) {
	t.Parallel()
	s := setup(t)
	if err := s.hub.wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range maxWatchers {
		if _, err := s.hub.add("a", ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.hub.add("a", ""); errors.Code(err) != codes.ResourceExhausted {
		t.Errorf("add = %v, want ResourceExhausted", err)
	}
	if _, err := s.hub.add("b", ""); err != nil {
		t.Errorf("another namespace: %v", err)
	}
}
