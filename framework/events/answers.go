package events

import (
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

const (
	// maxAnswers is how many answers go out together.
	maxAnswers = 64
	// answerDelay is how long an answer waits for others.
	answerDelay = time.Millisecond
)

// answers gathers what a consumer says of its events over one connection. They
// go out when all events have been answered, when there are many, and after a
// moment.
type answers struct {
	send func(ids []string) error
	end  func() error

	mu       sync.Mutex
	done     []string
	ended    bool
	expected int // events that were received and not answered
	timer    *time.Timer
}

// newAnswers makes answers that go out by send. After the last, end is called.
func newAnswers(send func(ids []string) error, end func() error) *answers {
	a := &answers{send: send, end: end}
	a.timer = time.AfterFunc(answerDelay, a.flush)
	return a
}

// stop sends the last answers, and takes no more.
func (a *answers) stop() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return nil
	}
	a.ended = true
	a.timer.Stop()
	if err := a.flushLocked(); err != nil {
		return err
	}
	return a.end()
}

// expect notes that events were received.
func (a *answers) expect(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.expected += n
}

// answer takes the answer for an event.
func (a *answers) answer(id string, success bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return errors.New(codes.Canceled, "event %q: its consumer has ended, and it is sent again", id).From("go.micro.client")
	}
	a.expected--
	if success {
		a.done = append(a.done, id)
	}
	if a.expected <= 0 || len(a.done) >= maxAnswers {
		return a.flushLocked()
	}
	if len(a.done) == 1 {
		a.timer.Reset(answerDelay)
	}
	return nil
}

func (a *answers) flush() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.ended {
		_ = a.flushLocked() // whoever receives has the error
	}
}

func (a *answers) flushLocked() error {
	if len(a.done) == 0 {
		return nil
	}
	done := a.done
	a.done = nil
	return a.send(done)
}
