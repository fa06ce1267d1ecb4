package abuse

import "net/netip"

// Address is who an address stands for: itself, or the /64 that one customer of
// IPv6 has at least.
func Address(ip netip.Addr) netip.Prefix { return prefix(ip, 32, 64) }

// Network is the neighbours of an address, whom one customer may well own: a
// /24, or a /48 of IPv6.
func Network(ip netip.Addr) netip.Prefix { return prefix(ip, 24, 48) }

func prefix(ip netip.Addr, four, six int) netip.Prefix {
	ip = ip.Unmap().WithZone("")
	bits := four
	if ip.Is6() {
		bits = six
	}
	p, err := ip.Prefix(bits)
	if err != nil { // the bits fit, but for the zero address
		return netip.Prefix{}
	}
	return p
}

// Source is the address and the network that a call comes from, as subjects of
// limits. Loopback is a developer, or a proxy that stands for all.
func Source(source string) (address, network string, ok bool) {
	ip, err := netip.ParseAddr(source)
	if err != nil || ip.Unmap().IsLoopback() {
		return "", "", false
	}
	return Address(ip).String(), Network(ip).String(), true
}
