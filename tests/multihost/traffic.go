package multihost

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
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
	calls    []Answer
	failures []Failure
	began    ticks
	stolen   int // percent of the processors' time, which the machine's own host gave to others
}

// Answer is a call that has ended, however it did.
type Answer struct {
	Kind string
	Due  time.Time
	Took time.Duration // from when it was due
	Edge string
}

// Start makes calls until Stop.
func Start(edges *Balancer, kinds []Kind) *Traffic {
	ctx, end := context.WithCancel(context.Background())
	t := &Traffic{edges: edges, end: end, began: readTicks()}
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
	t.calls = append(t.calls, Answer{k.Name, due, time.Since(due), e.Name})
	if err != nil {
		t.failures = append(t.failures, Failure{k.Name, due, time.Now(), e.Name, err})
	}
}

// Stop waits for the calls that are under way.
func (t *Traffic) Stop() {
	t.end()
	t.work.Wait()
	t.stolen = readTicks().stolenSince(t.began)
}

// Stolen is how many hundredths of the processors' time this machine did not get,
// being itself on one that is shared: where it is much, times say little.
func (t *Traffic) Stolen() int { return t.stolen }

// ticks are those of all processors, by proc(5).
type ticks struct{ all, stolen int }

func readTicks() (t ticks) {
	b, _ := os.ReadFile("/proc/stat") // without it nothing is said
	line, _, _ := strings.Cut(string(b), "\n")
	for i, field := range strings.Fields(line) {
		n, _ := strconv.Atoi(field) // the first is "cpu"
		if i <= stolenField {
			t.all += n
		}
		if i == stolenField {
			t.stolen = n
		}
	}
	return t
}

// stolenField is the place of "steal" after user, nice, system, idle, iowait, irq
// and softirq. Those after it are counted in others.
const stolenField = 8

func (t ticks) stolenSince(then ticks) int {
	return 100 * (t.stolen - then.stolen) / max(1, t.all-then.all)
}

// Calls is how many there were.
func (t *Traffic) Calls() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.calls)
}

// ByTook answers the calls that are counted, the slowest last.
func (t *Traffic) ByTook(counted func(Answer) bool) []Answer {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := slices.DeleteFunc(slices.Clone(t.calls), func(a Answer) bool { return !counted(a) })
	slices.SortFunc(all, func(a, b Answer) int { return cmp.Compare(a.Took, b.Took) })
	return all
}

// p99 is how long all but one in a hundred took of calls that ByTook answered.
func p99(all []Answer) time.Duration {
	if len(all) == 0 {
		return 0
	}
	return all[len(all)*99/100].Took
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
	calls, failed, longest := map[string]int{}, map[string]int{}, map[string]time.Duration{}
	for _, a := range t.calls {
		calls[a.Kind]++
		longest[a.Kind] = max(longest[a.Kind], a.Took)
	}
	for _, f := range failures {
		failed[f.Kind]++
	}
	for _, kind := range slices.Sorted(maps.Keys(calls)) {
		fmt.Fprintf(&b, "%s: %d calls, %d failed, longest %v\n", kind, calls[kind], failed[kind], longest[kind].Round(time.Millisecond))
	}
	const shown = 10 // at each end
	for i, f := range failures {
		if i == shown && len(failures) > 2*shown {
			fmt.Fprintf(&b, "  … %d more …\n", len(failures)-2*shown)
		}
		if i >= shown && i < len(failures)-shown {
			continue
		}
		fmt.Fprintf(&b, "  %s %s through %s: %v\n", f.Due.Format("15:04:05.000"), f.Kind, f.Edge, f.Cause)
	}
	return b.String()
}
