package outside

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

// private are the ranges that nothing of a tenant's may make us connect to,
// beside those that netip knows: shared address space, protocol assignments,
// tests, 6to4, documentation, and addresses that carry an IPv4 address.
var private = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("fec0::/10"),
}

// Public says whether an address is one of the public internet.
func Public(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.Zone() != "" {
		return false
	}
	for _, p := range private {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// ErrInside is what a host is refused with that is not public, or has one
// address that is not.
var ErrInside = errors.New(codes.PermissionDenied, "the address is not one of the public internet")

// Resolve answers the addresses of a public host. Who connects to them, and not
// to the name, is where was looked.
func Resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, errors.New(codes.FailedPrecondition, "host %q was not found", errors.Clip(host)).Because(err)
	}
	for i, a := range addresses {
		addresses[i] = a.Unmap()
		if !Public(a) {
			return nil, ErrInside
		}
	}
	return addresses, nil
}

// ErrMail is what a connection to a mail server is refused with.
var ErrMail = errors.New(codes.PermissionDenied, "port 25 is closed, where servers hand mail to each other: send by a mail service, at port 587 or 465")

// mailPort is where mail servers take mail from anybody.
const mailPort = 25

// Dialer connects to public hosts only, and not to this one.
type Dialer struct {
	// Timeout bounds a connection, the search for its address included.
	Timeout time.Duration
	// Open are networks that are as good as public, this host's own included.
	Open []netip.Prefix
	// Closed are public networks that are as bad as private.
	Closed []netip.Prefix
	// Mail opens port 25.
	Mail bool
}

// DialContext connects to "host:port", whose host is a name or an address. What
// a name stands for is looked at when it is connected to, not before.
func (d Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: d.Timeout, ControlContext: func(_ context.Context, network, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("connect to %s: %w", address, err)
		}
		a := at.Addr().Unmap()
		switch {
		case at.Port() == mailPort && !d.Mail:
			return ErrMail
		case contain(d.Open, a):
			return nil
		case !Public(a) || contain(d.Closed, a) || own(a):
			return ErrInside
		}
		return nil
	}}
	return dialer.DialContext(ctx, network, address)
}

func contain(all []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(all, func(p netip.Prefix) bool { return p.Contains(a) })
}

// own says whether an address is one of this host, as far as it knows: one may be
// translated to it elsewhere.
func own(a netip.Addr) bool {
	all, err := net.InterfaceAddrs()
	return err != nil || slices.ContainsFunc(all, func(x net.Addr) bool {
		p, err := netip.ParsePrefix(x.String())
		return err == nil && p.Addr().Unmap() == a
	})
}
