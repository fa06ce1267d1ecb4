package mail

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

const (
	// capacity bounds the messages that wait for a turn or for another try.
	capacity = 1000
	// workers is how many messages are handed over at once.
	workers = 4
	// retryMin and retryMax bound the wait after an attempt that failed.
	retryMin = time.Second
	retryMax = time.Minute
)

// Queue sends messages in the background. It is in memory only: what it holds
// is secret for a while and worthless after, and people can ask for it again.
type Queue struct {
	sender *Sender
	log    *slog.Logger
	slots  chan struct{}
	jobs   chan job // never fuller than slots
}

type job struct {
	Message
	until time.Time
	wait  time.Duration // before the next attempt
}

// NewQueue makes a Queue; Run sends.
func NewQueue(s *Sender, log *slog.Logger) *Queue {
	return &Queue{sender: s, log: log, slots: make(chan struct{}, capacity), jobs: make(chan job, capacity)}
}

// Put queues a message that is worth sending until a time.
func (q *Queue) Put(m Message, until time.Time) error {
	select {
	case q.slots <- struct{}{}:
		q.jobs <- job{m, until, retryMin}
		return nil
	default:
		return errors.New(codes.Unavailable, "too much mail is waiting to be sent, try again in a few minutes")
	}
}

// Run sends until ctx ends.
func (q *Queue) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for range workers {
		all.Go(func() { q.work(ctx) })
	}
	all.Wait()
	return nil
}

func (q *Queue) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-q.jobs:
			q.attempt(ctx, j)
		}
	}
}

// attempt sends a message, or sees to the next attempt. An address is a
// person's: the log has none.
func (q *Queue) attempt(ctx context.Context, j job) {
	err := q.sender.Send(ctx, j.Message)
	switch {
	case err == nil:
	case errors.Is(err, errRefused):
		q.log.WarnContext(ctx, "mail was refused", "subject", j.Subject, "error", err)
	case time.Now().Add(j.wait).After(j.until):
		q.log.ErrorContext(ctx, "mail could not be sent in time", "subject", j.Subject, "error", err)
	default:
		if j.wait == retryMin {
			q.log.WarnContext(ctx, "mail cannot be sent now, trying again", "subject", j.Subject, "error", err)
		}
		wait := j.wait
		j.wait = min(2*wait, retryMax)
		time.AfterFunc(wait, func() { q.jobs <- j }) // it keeps its slot, so there is room
		return
	}
	<-q.slots
}
