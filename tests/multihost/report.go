package multihost

import (
	"fmt"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// Report is what was measured, with what must hold.
type Report struct {
	mu   sync.Mutex
	rows []row
}

type row struct {
	experiment, figure, got, want string
	holds                         bool
}

// Most notes a figure that may be at most so much, and answers whether it is.
func (r *Report) Most(experiment, figure string, got, most int) bool {
	return r.note(row{experiment, figure, fmt.Sprint(got), fmt.Sprintf("≤ %d", most), got <= most})
}

// Least notes a figure that must be at least so much.
func (r *Report) Least(experiment, figure string, got, least int) bool {
	return r.note(row{experiment, figure, fmt.Sprint(got), fmt.Sprintf("≥ %d", least), got >= least})
}

// Within notes a time that may be at most so long.
func (r *Report) Within(experiment, figure string, got, most time.Duration) bool {
	return r.note(row{experiment, figure, got.Round(10 * time.Millisecond).String(), "≤ " + most.String(), got <= most})
}

// Info notes a figure that nothing is asked of.
func (r *Report) Info(experiment, figure string, got any) {
	r.note(row{experiment, figure, fmt.Sprint(got), "", true})
}

func (r *Report) note(x row) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rows = append(r.rows, x)
	return x.holds
}

// String is the table.
func (r *Report) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "EXPERIMENT\tFIGURE\tMEASURED\tMUST BE\t")
	for _, x := range r.rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", x.experiment, x.figure, x.got, x.want, map[bool]string{true: "", false: "DOES NOT HOLD"}[x.holds])
	}
	w.Flush()
	return b.String()
}
