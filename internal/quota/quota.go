package quota

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/micro/platform/framework/errors"
)

// Reached is the limit that a call was refused for: the cause of the error that
// says so to a person.
type Reached struct {
	// Policy is the limit's name in the catalogue of plans; "" is where none of
	// them is met.
	Policy string
	// Most is how much there may be: calls or events in Window, or whatever the
	// limit is counted in.
	Most int64
	// Window is the time in which Most is there again; 0 where only who has made
	// room may go on.
	Window time.Duration
	// Wait is when to try again, at least a second.
	Wait time.Duration
}

// makeRoom is when a client tries again at the earliest that has made no room:
// no time gives it any.
const makeRoom = time.Minute

// Error implements error. It is for the log.
func (r *Reached) Error() string { return fmt.Sprintf("limit %q of %d", r.Policy, r.Most) }

// Headers answers what an error adds to an answer: Retry-After, and the limit
// that was met, in the form of draft-ietf-httpapi-ratelimit-headers-10. An error
// with no limit in it adds nothing.
func Headers(err error) map[string]string {
	var r *Reached
	if !errors.As(err, &r) {
		return nil
	}
	wait := r.Wait
	if wait == 0 && r.Window == 0 {
		wait = makeRoom
	}
	seconds := strconv.Itoa(max(int(math.Ceil(wait.Seconds())), 1))
	out := map[string]string{"Retry-After": seconds}
	if r.Policy == "" {
		return out
	}
	out["RateLimit-Policy"], out["RateLimit"] = fmt.Sprintf("%q;q=%d", r.Policy, r.Most), fmt.Sprintf("%q;r=0", r.Policy)
	if r.Window > 0 {
		out["RateLimit-Policy"] += fmt.Sprintf(";w=%d", int(r.Window.Seconds()))
		out["RateLimit"] += ";t=" + seconds
	}
	return out
}
