package faults

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ID numbers a message: the Nth of a worker.
type ID struct{ Worker, N int }

func (id ID) String() string { return fmt.Sprintf("%d-%d", id.Worker, id.N) }

// ParseID is the opposite of String.
func ParseID(s string) (ID, error) {
	worker, n, ok := strings.Cut(s, "-")
	var id ID
	var err error
	if id.Worker, err = strconv.Atoi(worker); err != nil || !ok {
		return id, fmt.Errorf("%q is no number of a message", s)
	}
	if id.N, err = strconv.Atoi(n); err != nil {
		return id, fmt.Errorf("%q is no number of a message", s)
	}
	return id, nil
}

// Ledger is what became of the messages of one kind.
type Ledger struct {
	name    string
	ordered bool

	mu       sync.Mutex
	sent     map[ID]bool
	acked    map[ID]bool
	received map[ID]int
	newest   map[int]int // by worker: the highest number that was received
	disorder int
	ackedAt  time.Time
	pause    time.Duration
}

// NewLedger makes an empty one. In an ordered one the messages of a worker are
// to be received in the order of their numbers.
func NewLedger(name string, ordered bool) *Ledger {
	return &Ledger{name: name, ordered: ordered,
		sent: map[ID]bool{}, acked: map[ID]bool{}, received: map[ID]int{}, newest: map[int]int{}}
}

// Sent books a message before it is sent.
func (l *Ledger) Sent(id ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent[id] = true
}

// Acked books that the platform has acknowledged a message.
func (l *Ledger) Acked(id ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[id] = true
	now := time.Now()
	if !l.ackedAt.IsZero() {
		l.pause = max(l.pause, now.Sub(l.ackedAt))
	}
	l.ackedAt = now
}

// Knows says whether a message was acknowledged.
func (l *Ledger) Knows(id ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acked[id]
}

// Received books that a message came, or is there. One that comes again is no
// disorder.
func (l *Ledger) Received(id ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.received[id]++
	if l.received[id] > 1 {
		return
	}
	if newest, ok := l.newest[id.Worker]; l.ordered && ok && id.N < newest {
		l.disorder++
	}
	l.newest[id.Worker] = max(l.newest[id.Worker], id.N)
}

// Recount forgets what was received, to look anew.
func (l *Ledger) Recount() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.received, l.newest, l.disorder = map[ID]int{}, map[int]int{}, 0
}

// Row is the sums of a ledger.
type Row struct {
	Name                  string
	Sent, Acked, Received int
	// Lost were acknowledged and not received, Doubled are the receipts after
	// the first, Ghosts were received but not acknowledged, which is allowed of
	// what was sent, and Strangers were never sent.
	Lost, Doubled, Ghosts, Strangers int
	// Disorder counts messages that came after a later one.
	Disorder int
	// Pause is the longest time between two acknowledgements.
	Pause time.Duration
}

// Row sums up.
func (l *Ledger) Row() Row {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := Row{Name: l.name, Sent: len(l.sent), Acked: len(l.acked), Disorder: l.disorder, Pause: l.pause}
	for id := range l.acked {
		if l.received[id] == 0 {
			r.Lost++
		}
	}
	for id, times := range l.received {
		r.Received += times
		r.Doubled += times - 1
		switch {
		case !l.sent[id]:
			r.Strangers++
		case !l.acked[id]:
			r.Ghosts++
		}
	}
	return r
}

// Wrong answers what a platform must not do, also while it is killed: without
// a crash there is also nothing doubled.
func (r Row) Wrong(crashes int) []string {
	var all []string
	for _, x := range []struct {
		what string
		n    int
	}{
		{"acknowledged messages are lost", r.Lost},
		{"messages came out of order", r.Disorder},
		{"messages were never sent", r.Strangers},
	} {
		if x.n > 0 {
			all = append(all, fmt.Sprintf("%s: %d %s", r.Name, x.n, x.what))
		}
	}
	if r.Doubled > 0 && crashes == 0 {
		all = append(all, fmt.Sprintf("%s: %d messages are doubled without a crash", r.Name, r.Doubled))
	}
	if r.Acked == 0 {
		all = append(all, r.Name+": nothing was acknowledged")
	}
	return all
}

// Rewind forgets the acknowledgements since an earlier moment: then is what
// Acknowledged answered.
func (l *Ledger) Rewind(then map[ID]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked = then
}

// Acknowledged answers what was acknowledged so far.
func (l *Ledger) Acknowledged() map[ID]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.acked)
}
