package faults

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// Figure is something that an experiment has measured, and what it should be.
type Figure struct {
	Experiment, What string
	Got, Goal        string
	Held             bool
}

// Figures are those of all experiments.
type Figures []Figure

// most adds a duration that has an upper bound.
func (f *Figures) most(experiment, what string, got, goal time.Duration) {
	*f = append(*f, Figure{experiment, what, got.Round(time.Millisecond).String(), "at most " + goal.String(), got <= goal})
}

// count adds a number that has an upper bound.
func (f *Figures) count(experiment, what string, got, goal int) {
	*f = append(*f, Figure{experiment, what, fmt.Sprint(got), fmt.Sprintf("at most %d", goal), got <= goal})
}

// least adds a number that has a lower bound.
func (f *Figures) least(experiment, what string, got, goal int) {
	*f = append(*f, Figure{experiment, what, fmt.Sprint(got), fmt.Sprintf("at least %d", goal), got >= goal})
}

// share adds a part of calls, as a number in a thousand that has an upper bound.
func (f *Figures) share(experiment, what string, part, all int, goal float64) {
	got := 1000 * float64(part) / float64(max(all, 1))
	*f = append(*f, Figure{experiment, what, fmt.Sprintf("%d of %d, %.2f in 1000", part, all, got), fmt.Sprintf("at most %g in 1000", goal), got <= goal && all > 0})
}

// missed answers those that are not what they should be.
func (f Figures) missed() int {
	n := 0
	for _, x := range f {
		if !x.Held {
			n++
		}
	}
	return n
}

// String is a table of the figures.
func (f Figures) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "experiment\tfigure\tmeasured\tgoal\theld")
	for _, x := range f {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", x.Experiment, x.What, x.Got, x.Goal, map[bool]string{true: "yes", false: "NO"}[x.Held])
	}
	w.Flush()
	return b.String()
}
