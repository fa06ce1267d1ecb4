package source

import (
	"context"
	"net"
	"net/netip"

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

// isPublic says whether an address is one of the public internet.
func isPublic(a netip.Addr) bool {
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

// resolve answers the addresses of a public host. One that is not public is
// enough to refuse it: git is then pinned to what was checked here.
func resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, errors.New(codes.FailedPrecondition, "host %q was not found", errors.Clip(host)).Because(err)
	}
	for i, a := range addresses {
		addresses[i] = a.Unmap()
		if !isPublic(a) {
			return nil, refuse(onlyHTTPS)
		}
	}
	return addresses, nil
}
