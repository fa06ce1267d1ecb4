package ingress

import (
	"cmp"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/micro/platform/internal/abuse"
)

const (
	// stalled is how long nothing may come of a connection's messages before it goes
	// first of those of its address.
	stalled = 5 * time.Second
	// sayEvery is how often operators are told that connections have to go.
	sayEvery = 10 * time.Second
)

// Room is the memory for messages of gRPC that are on their way, counted by what has
// come of them. When there is too much, connections have to go: of the network that has
// most, and of the address in it that has most, one of which nothing comes any more, or
// else the one that began last, so that what is nearly here comes to its end. Who has
// little never loses anything to one who has much. A Room may serve several listeners.
type Room struct {
	limit int64
	log   *slog.Logger

	mu    sync.Mutex
	total int64
	begun uint64 // connections, each time that one holds something
	held  map[*arriving]held
	said  time.Time
}

// held is what a connection holds.
type held struct {
	from  netip.Addr
	bytes int64
	begun uint64 // its place among all
}

// NewRoom makes a Room of so many bytes; 0 is no limit.
func NewRoom(limit int64, log *slog.Logger) *Room {
	return &Room{limit: limit, log: log, held: map[*arriving]held{}}
}

// hold says that a connection holds n bytes now, and answers those that have to go.
func (r *Room) hold(a *arriving, from netip.Addr, n int64, now time.Time) (gone []*arriving) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a.out {
		return nil
	}
	h, known := r.held[a]
	if !known {
		h.from, h.begun = from, r.begun
		r.begun++
	}
	r.total += n - h.bytes
	if h.bytes = n; n > 0 {
		r.held[a] = h
	} else {
		delete(r.held, a)
	}
	for r.limit > 0 && r.total > r.limit {
		x := r.first(now)
		r.tell(r.held[x], now)
		x.out = true
		r.total -= r.held[x].bytes
		delete(r.held, x)
		gone = append(gone, x)
	}
	return gone
}

// first answers who has to go first. It wants mu held.
func (r *Room) first(now time.Time) *arriving {
	of := map[netip.Prefix]int64{} // networks, and addresses
	for _, h := range r.held {
		of[network(h.from)] += h.bytes
		of[abuse.Address(h.from)] += h.bytes
	}
	silent := func(a *arriving) int {
		if now.Sub(a.lastCame()) > stalled {
			return 1
		}
		return 0
	}
	return slices.MaxFunc(slices.Collect(maps.Keys(r.held)), func(a, b *arriving) int {
		x, y := r.held[a], r.held[b]
		return cmp.Or(cmp.Compare(of[network(x.from)], of[network(y.from)]),
			cmp.Compare(of[abuse.Address(x.from)], of[abuse.Address(y.from)]), silent(a)-silent(b), cmp.Compare(x.begun, y.begun))
	})
}

// network is abuse.Network, but for containers: those of a namespace have a /26.
func network(ip netip.Addr) netip.Prefix {
	if ip = ip.Unmap(); ip.Is4() && ip.IsPrivate() {
		return netip.PrefixFrom(ip, 26).Masked()
	}
	return abuse.Network(ip)
}

// tell tells operators, now and then. It wants mu held.
func (r *Room) tell(h held, now time.Time) {
	if now.Sub(r.said) > sayEvery {
		r.said = now
		r.log.Warn("connections are cut for the memory of messages that have not come as a whole",
			"limit", r.limit, "connections", len(r.held), "client", h.from.String(), "bytes", h.bytes)
	}
}
