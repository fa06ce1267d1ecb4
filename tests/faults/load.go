package faults

import (
	"context"
	"sync"
	"time"

	"github.com/micro/platform/tests/platform"
)

const (
	// sendTimeout bounds one try to send a message.
	sendTimeout = 5 * time.Second
	// tryAgain is the wait before a message is sent again.
	tryAgain = 20 * time.Millisecond
)

// Load writes numbered messages of one kind, and finds them again.
type Load struct {
	Workers int
	// Every is the time between two messages of a worker. Who is behind sends
	// at once, so a slow platform gets no less to do.
	Every time.Duration
	// Retry sends a message until it is acknowledged, so that a worker's are in
	// order. Otherwise each is sent once.
	Retry bool
	// Send sends a message once. No error is its acknowledgement.
	Send func(ctx context.Context, id ID) error
	// Collect looks for the messages and books them as received.
	Collect func(ctx context.Context) error
	// Ledgers are the books of the messages, one for each way to receive them.
	Ledgers []*Ledger
}

// Run sends messages until ctx ends.
func (l *Load) Run(ctx context.Context) {
	var all sync.WaitGroup
	for w := range l.Workers {
		all.Go(func() {
			due := time.Now()
			for n := 0; platform.Until(ctx, due); n++ {
				due = due.Add(l.Every)
				l.deliver(ctx, ID{w, n})
			}
		})
	}
	all.Wait()
}

func (l *Load) deliver(ctx context.Context, id ID) {
	for _, ledger := range l.Ledgers {
		ledger.Sent(id)
	}
	for {
		try, cancel := context.WithTimeout(ctx, sendTimeout)
		err := l.Send(try, id)
		cancel()
		if err == nil {
			for _, ledger := range l.Ledgers {
				ledger.Acked(id)
			}
			return
		}
		if !l.Retry || !platform.Until(ctx, time.Now().Add(tryAgain)) {
			return
		}
	}
}

// lost answers how many acknowledged messages are still missing.
func (l *Load) lost() int {
	n := 0
	for _, ledger := range l.Ledgers {
		n += ledger.Row().Lost
	}
	return n
}

// Settle collects until nothing is missing, or ctx ends.
func (l *Load) Settle(ctx context.Context) error {
	for {
		err := l.Collect(ctx)
		if err == nil && l.lost() == 0 {
			return nil
		}
		if !platform.Until(ctx, time.Now().Add(10*tryAgain)) {
			return err // what is lost stands in the report
		}
	}
}
