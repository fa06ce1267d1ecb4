package runtime

import (
	"fmt"
	"slices"
	"testing"
)

func TestTransitions(t *testing.T) {
	t.Parallel()
	states := []state{pending, building, starting, running, stopping, stopped, failed}
	events := []event{enqueued, built, healthy, broke, recovered, lost, unbuilt, dismissed, removed}
	want := map[string]state{
		"pending enqueued": building, "pending broke": failed, "pending dismissed": stopping,
		"building built": starting, "building broke": failed, "building dismissed": stopping,
		"starting healthy": running, "starting unbuilt": pending, "starting broke": failed, "starting dismissed": stopping,
		"running broke": failed, "running lost": starting, "running unbuilt": pending, "running dismissed": stopping,
		"error recovered": running, "error lost": starting, "error unbuilt": pending, "error dismissed": stopping,
		"stopping removed": stopped,
	}
	for _, s := range states {
		for _, e := range events {
			to, possible := want[fmt.Sprintf("%s %s", s, e)]
			got, err := s.next(e)
			if possible != (err == nil) || possible && got != to || !possible && got != s {
				t.Errorf("%s, %s: %s, %v; want %q", s, e, got, err, to)
			}
			if slices.Contains(e.from(), s) != possible {
				t.Errorf("from(%s) = %v", e, e.from())
			}
		}
	}
}

// TestEveryStateEnds holds that a revision which is dismissed comes to stopped
// from wherever it is, and that nothing leaves stopped.
func TestEveryStateEnds(t *testing.T) {
	t.Parallel()
	for s := range transitions {
		if s == stopped {
			continue
		}
		at := s
		if at != stopping {
			at, _ = at.next(dismissed)
		}
		if at, _ = at.next(removed); at != stopped {
			t.Errorf("%s ends as %s", s, at)
		}
	}
	if len(transitions[stopped]) != 0 {
		t.Error("stopped is not the end")
	}
}

func TestStatusNumbers(t *testing.T) {
	t.Parallel()
	for i, s := range []state{"", pending, building, starting, running, stopping, stopped, failed} {
		if got := s.status(); got != int32(i) {
			t.Errorf("status of %q is %d, want %d", s, got, i)
		}
	}
}
