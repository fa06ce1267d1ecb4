package proxy

import (
	"net/netip"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

const (
	// maxAnonymous is how many calls without an account may be open to the
	// platform's own methods: logging in and signing up, mostly.
	maxAnonymous = 1000
	// maxAnonymousFrom is how many of them may come from one address.
	maxAnonymousFrom = 100
	// maxAddresses bounds the addresses that are remembered, about 100 bytes each.
	maxAddresses = 50_000
)

// anonymous bounds the calls that count for no namespace, by the address they
// come from: their rate, by a bucket that fills again, and how many are open.
type anonymous struct {
	rate, burst float64 // a second, and at once
	now         func() time.Time

	mu   sync.Mutex
	open int
	from map[netip.Prefix]*bucket
}

type bucket struct {
	left float64
	at   time.Time // when left was right
	open int
}

func newAnonymous(perSecond int) *anonymous {
	return &anonymous{rate: float64(perSecond), burst: 20 * float64(perSecond), now: time.Now, from: map[netip.Prefix]*bucket{}}
}

// enter takes a place for a call from an address; leave gives it back. Calls
// from nowhere, such as the platform's own, are free.
func (a *anonymous) enter(address string) (leave func(), err error) {
	ip, err := netip.ParseAddr(address)
	if err != nil || a.rate <= 0 {
		return func() {}, nil
	}
	who := neighbours(ip)
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.bucket(who)
	switch {
	case a.open >= maxAnonymous:
		return nil, errors.New(codes.ResourceExhausted, "too many calls without an account are open, try again")
	case b.open >= maxAnonymousFrom:
		return nil, errors.New(codes.ResourceExhausted, "your address has %d calls without an account open, which is the limit: try again when some have ended", maxAnonymousFrom)
	case b.left < 1:
		return nil, errors.New(codes.ResourceExhausted, "your address makes more than %g calls a second without an account: try again in a second, or log in", a.rate)
	}
	b.left--
	b.open++
	a.open++
	return sync.OnceFunc(func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.open--
		b.open--
	}), nil
}

// bucket answers what is left for an address. The caller holds mu.
func (a *anonymous) bucket(who netip.Prefix) *bucket {
	now := a.now()
	b := a.from[who]
	if b == nil {
		a.makeRoom(now)
		b = &bucket{left: a.burst, at: now}
		a.from[who] = b
	}
	b.left = min(a.burst, b.left+a.rate*now.Sub(b.at).Seconds())
	b.at = now
	return b
}

// makeRoom forgets a few addresses when there are too many: those whose bucket
// is full again, and at least one. The caller holds mu.
func (a *anonymous) makeRoom(now time.Time) {
	if len(a.from) < maxAddresses {
		return
	}
	const few = 32
	seen := 0
	for who, b := range a.from { // in random order
		full := b.open == 0 && b.left+a.rate*now.Sub(b.at).Seconds() >= a.burst
		if seen == 0 || full {
			delete(a.from, who)
		}
		if seen++; seen == few {
			return
		}
	}
}

// neighbours is the network that an address stands for: one customer of IPv6
// has at least a /64.
func neighbours(ip netip.Addr) netip.Prefix {
	ip = ip.Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, err := ip.Prefix(bits)
	if err != nil { // bits fit
		return netip.PrefixFrom(ip, ip.BitLen())
	}
	return p
}
