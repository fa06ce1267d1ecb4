package multihost

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/micro/platform/tests/platform"
)

// Kind is one kind of call.
type Kind struct {
	Name string
	// GRPC has calls only go through edges that are connected.
	GRPC bool
	// Every is the time between two calls; each is made when it is due, however
	// long those before it take.
	Every time.Duration
	// Within is how long a call may take.
	Within time.Duration
	Call   func(ctx context.Context, e *Edge, n int) error
}

// Failure is a call that failed.
type Failure struct {
	Kind string
	// Due is when the call was to be made, Ended when it had failed.
	Due, Ended time.Time
	Edge       string
	Cause      error
}

// Traffic is calls of several kinds through all edges that answer.
type Traffic struct {
	edges *Balancer
	end   context.CancelFunc
	work  sync.WaitGroup

	mu       sync.Mutex
	calls    map[string]int
	latest   map[string]time.Duration // the longest, from when it was due
	failures []Failure
}

// Start makes calls until Stop.
func Start(edges *Balancer, kinds []Kind) *Traffic {
	ctx, end := context.WithCancel(context.Background())
	t := &Traffic{edges: edges, end: end, calls: map[string]int{}, latest: map[string]time.Duration{}}
	for i, k := range kinds {
		t.work.Go(func() {
			// Kinds do not all begin in the same moment.
			due := time.Now().Add(k.Every * time.Duration(i) / time.Duration(len(kinds)))
			for n := 0; platform.Until(ctx, due); n++ {
				at, number := due, n
				t.work.Go(func() { t.one(k, at, number) })
				due = due.Add(k.Every)
			}
		})
	}
	return t
}

func (t *Traffic) one(k Kind, due time.Time, n int) {
	ctx, cancel := context.WithDeadline(context.Background(), due.Add(k.Within))
	defer cancel()
	e := t.edges.Next(k.GRPC)
	err := k.Call(ctx, e, n)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls[k.Name]++
	t.latest[k.Name] = max(t.latest[k.Name], time.Since(due))
	if err != nil {
		t.failures = append(t.failures, Failure{k.Name, due, time.Now(), e.Name, err})
	}
}

// Stop waits for the calls that are under way.
func (t *Traffic) Stop() {
	t.end()
	t.work.Wait()
}

// Calls is how many there were.
func (t *Traffic) Calls() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, c := range t.calls {
		n += c
	}
	return n
}

// Failures are the calls that failed, by when they were due.
func (t *Traffic) Failures() []Failure {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.SortFunc(t.failures, func(a, b Failure) int { return a.Due.Compare(b.Due) })
	return slices.Clone(t.failures)
}

// Around tells failures by a moment: those before it, those of calls that were
// under way then, and those of calls that were due later.
func (t *Traffic) Around(at time.Time) (before, inHand, later []Failure) {
	for _, f := range t.Failures() {
		switch {
		case f.Ended.Before(at):
			before = append(before, f)
		case f.Due.Before(at):
			inHand = append(inHand, f)
		default:
			later = append(later, f)
		}
	}
	return before, inHand, later
}

// String is a line for every kind, and a few of the failures.
func (t *Traffic) String() string {
	failures := t.Failures()
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	for _, kind := range slices.Sorted(maps.Keys(t.calls)) {
		failed := 0
		for _, f := range failures {
			if f.Kind == kind {
				failed++
			}
		}
		fmt.Fprintf(&b, "%s: %d calls, %d failed, longest %v\n", kind, t.calls[kind], failed, t.latest[kind].Round(time.Millisecond))
	}
	for _, f := range failures[:min(len(failures), 20)] {
		fmt.Fprintf(&b, "  %s %s through %s: %v\n", f.Due.Format("15:04:05.000"), f.Kind, f.Edge, f.Cause)
	}
	return b.String()
}
