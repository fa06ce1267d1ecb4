package runtime

import "fmt"

// state is where a revision is. The values are those of the database.
type state string

const (
	pending  state = "pending"  // written down, nothing done
	building state = "building" // the builder has it
	starting state = "starting" // it has an image; its containers are not serving yet
	running  state = "running"  // it serves
	stopping state = "stopping" // it was replaced or deleted and is being removed
	stopped  state = "stopped"  // nothing of it is left but its build
	failed   state = "error"    // the reason says why
)

// event is what happens to a revision.
type event string

const (
	enqueued  event = "enqueued"  // the builder took it
	built     event = "built"     // there is an image
	healthy   event = "healthy"   // its containers answer and have registered
	broke     event = "broke"     // the build, the start or the process failed
	recovered event = "recovered" // a crashed one is up again
	lost      event = "lost"      // its deployment is gone though it is wanted
	unbuilt   event = "unbuilt"   // its image is gone though it is wanted
	dismissed event = "dismissed" // replaced by another revision, or deleted
	removed   event = "removed"   // its containers and its account are gone
)

// transitions is the whole state machine: what is not listed cannot happen.
var transitions = map[state]map[event]state{
	pending:  {enqueued: building, broke: failed, dismissed: stopping},
	building: {built: starting, broke: failed, dismissed: stopping},
	starting: {healthy: running, unbuilt: pending, broke: failed, dismissed: stopping},
	running:  {broke: failed, lost: starting, unbuilt: pending, dismissed: stopping},
	failed:   {recovered: running, lost: starting, unbuilt: pending, dismissed: stopping},
	stopping: {removed: stopped},
	stopped:  {},
}

// next answers the state after an event.
func (s state) next(e event) (state, error) {
	to, ok := transitions[s][e]
	if !ok {
		return s, fmt.Errorf("a revision that is %s cannot be %s", s, e)
	}
	return to, nil
}

// from answers the states in which an event can happen.
func (e event) from() []state {
	var out []state
	for _, s := range []state{pending, building, starting, running, stopping, stopped, failed} {
		if _, ok := transitions[s][e]; ok {
			out = append(out, s)
		}
	}
	return out
}

// status is the number of a state in the API.
func (s state) status() int32 {
	switch s {
	case pending:
		return 1
	case building:
		return 2
	case starting:
		return 3
	case running:
		return 4
	case stopping:
		return 5
	case stopped:
		return 6
	case failed:
		return 7
	}
	return 0
}

// underway says whether a revision is on its way to running.
func (s state) underway() bool { return s == pending || s == building || s == starting }

// live says whether a second Create has nothing to start.
func (s state) live() bool { return s.underway() || s == running }
