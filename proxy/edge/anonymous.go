package edge

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/abuse"
)

const (
	// maxAnonymous is how many calls without an account may be open to the
	// platform's own methods: logging in and signing up, mostly.
	maxAnonymous = 1000
	// maxFromAddress and maxFromNetwork are how many calls without an account may
	// come from one place, to the platform's methods, and to services.
	maxFromAddress = 100
	maxFromNetwork = 250
	// burst is how many seconds' worth of calls may come at once.
	burst = 20
	// neighbours is how much more than an address a network may do.
	neighbours = 5
)

// anonymous bounds the calls that count for no namespace: those of the
// platform's own methods.
type anonymous struct {
	places  *Places
	address *rates
	network *rates
}

func newAnonymous(perSecond int) *anonymous {
	each := float64(perSecond)
	return &anonymous{places: NewPlaces(maxAnonymous), address: newRates(each, burst*each), network: newRates(neighbours*each, burst*neighbours*each)}
}

// enter takes a place for a call from an address; leave gives it back. Calls
// from nowhere, such as the platform's own, are free.
func (a *anonymous) enter(address string) (leave func(), err error) {
	ip, err := netip.ParseAddr(address)
	if err != nil || a.address.each <= 0 {
		return func() {}, nil
	}
	if leave, err = a.places.enter(ip); err != nil {
		return nil, err
	}
	if !a.address.take(abuse.Address(ip)) || !a.network.take(abuse.Network(ip)) {
		leave()
		return nil, errors.New(codes.ResourceExhausted, "your address or network makes more than %g calls a second without an account: try again in a second, or log in", a.address.each).Because(crowded)
	}
	return leave, nil
}

// Places counts the open calls of callers without an account by where they come
// from, so that no one place holds all that there are: an address may have 100,
// its network 250.
type Places struct {
	most int // of all together; 0 is no limit

	mu   sync.Mutex
	open map[netip.Prefix]int // of addresses and networks; the zero one is all
}

// NewPlaces makes Places for so many calls of all together; 0 is no limit.
func NewPlaces(most int) *Places { return &Places{most: most, open: map[netip.Prefix]int{}} }

func (p *Places) enter(ip netip.Addr) (leave func(), err error) {
	taken := [...]netip.Prefix{{}, abuse.Network(ip), abuse.Address(ip)}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.most > 0 && p.open[taken[0]] >= p.most:
		return nil, errors.New(codes.ResourceExhausted, "too many calls without an account are open, try again").Because(crowded)
	case p.open[taken[1]] >= maxFromNetwork:
		return nil, errors.New(codes.ResourceExhausted, "your network has %d calls without an account open, which is the limit: try again when some have ended, or log in", maxFromNetwork).Because(crowded)
	case p.open[taken[2]] >= maxFromAddress:
		return nil, errors.New(codes.ResourceExhausted, "your address has %d calls without an account open, which is the limit: try again when some have ended, or log in", maxFromAddress).Because(crowded)
	}
	for _, from := range taken {
		p.open[from]++
	}
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, from := range taken {
			if p.open[from]--; p.open[from] == 0 {
				delete(p.open, from)
			}
		}
	}), nil
}

// Enter takes a place for a call from an address; leave gives it back. Loopback is
// a developer, or a proxy that stands for all, and free. The error is
// codes.ResourceExhausted.
func (p *Places) Enter(address string) (leave func(), err error) {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Unmap().IsLoopback() {
		return func() {}, nil
	}
	return p.enter(ip)
}

// errNoMessage is about a caller who holds a place and says nothing.
func errNoMessage(within time.Duration) error {
	return errors.New(codes.DeadlineExceeded, "the first message did not come within %s, which calls without an account must send: send it, or log in", within).From("go.micro.proxy")
}

// Await ends the call, by end, unless its caller sends a first message soon or
// has an account. What it answers says that the message is here.
func (c *Call) Await(end context.CancelCauseFunc) (came func()) {
	within := c.edge.opts.FirstMessage
	if c.Caller != nil || within <= 0 {
		return func() {}
	}
	t := time.AfterFunc(within, func() { end(errNoMessage(within)) })
	return func() { t.Stop() }
}
