package edge

import (
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

// trust says for how long what auth has pushed may be believed. While auth
// pushes, that is for ever; when it is away nobody hears of tokens that are
// revoked and of rules that are withdrawn, so after a while calls are refused.
type trust struct {
	within time.Duration
	now    func() time.Time

	mu   sync.Mutex
	lost time.Time // when the pushes ended; zero while they come, and before the first
}

func newTrust(within time.Duration) *trust { return &trust{within: within, now: time.Now} }

// lose notes that the pushes have ended.
func (t *trust) lose() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lost.IsZero() {
		t.lost = t.now()
	}
}

// found notes that the pushes come again, and answers how long they did not.
func (t *trust) found() (away time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.lost.IsZero() {
		away = t.now().Sub(t.lost)
	}
	t.lost = time.Time{}
	return away
}

// check refuses what would stand on knowledge that is too old.
func (t *trust) check() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lost.IsZero() || t.now().Sub(t.lost) <= t.within {
		return nil
	}
	return errors.New(codes.Unavailable, "auth has been away for more than %s, so nobody can be let in: try again", t.within)
}
