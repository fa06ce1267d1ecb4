package faults

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is the outcome of a trial.
type Report struct {
	Title string
	Seed  uint64
	For   time.Duration
	// Kills counts them by victim.
	Kills map[string]int
	Rows  []Row
}

func (r Report) crashes() int {
	n := 0
	for _, k := range r.Kills {
		n += k
	}
	return n
}

// Wrong answers what must not be.
func (r Report) Wrong() []string {
	var all []string
	for _, row := range r.Rows {
		all = append(all, row.Wrong(r.crashes())...)
	}
	return all
}

// String is the report as a table.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %v, seed %d, %d kills", r.Title, r.For, r.Seed, r.crashes())
	for i, name := range slices.Sorted(maps.Keys(r.Kills)) {
		fmt.Fprintf(&b, "%s%s %d", map[bool]string{true: ": ", false: ", "}[i == 0], name, r.Kills[name])
	}
	b.WriteByte('\n')
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "what\tsent\tacked\treceived\tlost\tdoubled\tghosts\tdisorder\tlongest pause\t")
	for _, x := range r.Rows {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%v\t\n", x.Name, x.Sent, x.Acked, x.Received, x.Lost, x.Doubled, x.Ghosts, x.Disorder, x.Pause.Round(time.Millisecond))
	}
	w.Flush()
	return b.String()
}
