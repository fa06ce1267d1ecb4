package ingress

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"

	"github.com/micro/platform/internal/abuse"
)

// neighbours is how many times the connections of an address its network may
// have.
const neighbours = 5

// Options say who may have what.
type Options struct {
	// PerAddress is how many connections an address may have; 0 is no limit.
	// Trusted proxies have none: their clients' are counted.
	PerAddress int
	// PerNetwork bounds networks as well (/24, IPv6: /48), at five times as many.
	// The containers of a host are one network.
	PerNetwork bool
	// FreeLoopback leaves loopback out: a developer, or the platform itself.
	FreeLoopback bool
	// Resets is how many streams a client of HTTP/2 may cancel in ten seconds:
	// see frames. 0 is for what does not speak HTTP/2.
	Resets int
	// Room is where messages over gRPC are counted that have not come as a whole. It
	// goes with Resets.
	Room *Room
	// Proxies are those who may say whose their connections are.
	Proxies Proxies
}

// Listener is a listener that counts whose connections are open.
type Listener struct {
	net.Listener
	opts Options
	log  *slog.Logger

	mu   sync.Mutex
	open map[netip.Prefix]int
}

// New makes a Listener that accepts from l.
func New(l net.Listener, o Options, log *slog.Logger) *Listener {
	return &Listener{Listener: l, opts: o, log: log, open: map[netip.Prefix]int{}}
}

// Accept implements net.Listener. It closes what is too much at once: who opened
// it sees that.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		inner, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: inner, listener: l, client: inner.RemoteAddr(), leave: func() {}}
		if l.opts.Resets > 0 {
			c.arriving = newArriving(l.opts.Room, c.evict)
			c.answers = &answers{arriving: c.arriving}
			c.frames = newFrames(l.opts.Resets, c.arriving)
		}
		if l.opts.Proxies.trust(addrOf(c.client)) {
			c.headed = true
			return c, nil
		}
		if c.enter() {
			return c, nil
		}
		inner.Close()
	}
}

// addrOf is the IP address of an address.
func addrOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// take counts a connection; leave gives its place back.
func (l *Listener) take(from netip.Addr) (leave func(), ok bool) {
	if l.opts.PerAddress <= 0 || l.opts.FreeLoopback && from.IsLoopback() || l.opts.Proxies.trust(from) {
		return func() {}, true
	}
	address, network := abuse.Address(from), abuse.Network(from)
	taken := []netip.Prefix{address}
	if l.opts.PerNetwork {
		taken = append(taken, network)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[address] >= l.opts.PerAddress || l.open[network] >= neighbours*l.opts.PerAddress {
		return nil, false
	}
	for _, p := range taken {
		l.open[p]++
	}
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, p := range taken {
			if l.open[p]--; l.open[p] == 0 {
				delete(l.open, p)
			}
		}
	}), true
}
