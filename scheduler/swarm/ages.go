package swarm

import "time"

// ages are for how long things have been so, counted by this process from when it
// saw them first, and only while Docker answers. The times that other hosts note
// are not compared with the time here: their clocks may be minutes off.
type ages struct {
	last    time.Time // of the last look, zero while Docker is away
	watched time.Duration
	since   map[string]time.Duration // by what is asked for: how long was watched by then
	asked   map[string]bool          // since the last look
}

// tick begins a look. What was not asked for at the last one is forgotten.
func (a *ages) tick(now time.Time) {
	if !a.last.IsZero() {
		a.watched += now.Sub(a.last)
	}
	a.last = now
	for what := range a.since {
		if !a.asked[what] {
			delete(a.since, what)
		}
	}
	a.asked = map[string]bool{}
}

// pause lets no time go by until the next look.
func (a *ages) pause() { a.last = time.Time{} }

// of answers for how long something has been so, which is nothing the first time.
func (a *ages) of(what string) time.Duration {
	a.asked[what] = true
	if _, ok := a.since[what]; !ok {
		a.since[what] = a.watched
	}
	return a.watched - a.since[what]
}
