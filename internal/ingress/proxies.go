package ingress

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"strings"
)

// Proxies are the networks of proxies that stand in front of an edge, as for
// TLS, and are believed when they say who their client is. Nobody else is.
type Proxies []netip.Prefix

// UnmarshalText reads networks and addresses between commas.
func (p *Proxies) UnmarshalText(b []byte) error {
	*p = nil
	for one := range strings.SplitSeq(string(b), ",") {
		one = strings.TrimSpace(one)
		network, err := netip.ParsePrefix(one)
		if a, e := netip.ParseAddr(one); e == nil {
			network, err = a.Prefix(a.BitLen())
		}
		if err != nil {
			return fmt.Errorf("%q is no address and no network, such as 10.0.0.0/8", one)
		}
		*p = append(*p, network.Masked())
	}
	return nil
}

// String is what UnmarshalText reads.
func (p Proxies) String() string {
	var all []string
	for _, network := range p {
		all = append(all, network.String())
	}
	return strings.Join(all, ",")
}

func (p Proxies) trust(a netip.Addr) bool {
	for _, network := range p {
		if network.Contains(a) {
			return true
		}
	}
	return false
}

// Client answers the address of the client whose connection comes from peer with
// these X-Forwarded-For headers: what a trusted proxy says who is the last of
// them that is no trusted proxy itself. What stands before that, anybody may
// have written.
func (p Proxies) Client(peer string, forwarded []string) string {
	hops := strings.Split(strings.Join(forwarded, ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		a, err := netip.ParseAddr(peer)
		if err != nil || !p.trust(a.Unmap()) {
			break
		}
		next, err := parseHop(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		peer = next.String()
	}
	return peer
}

// parseHop reads an address as proxies write it, with a port or without.
func parseHop(hop string) (netip.Addr, error) {
	if a, err := netip.ParseAddr(hop); err == nil {
		return a.Unmap().WithZone(""), nil
	}
	a, err := netip.ParseAddrPort(hop)
	return a.Addr().Unmap().WithZone(""), err
}

// signature begins a header of the PROXY protocol, version 2, and no request of
// HTTP.
const signature = "\r\n\r\n\x00\r\nQUIT\n"

const (
	headerSize = len(signature) + 4
	maxHeader  = 1024 // bytes after these: addresses and what else a proxy says
	proxied    = 0x21 // version 2, with the client's address; 0x20 is the proxy's own call
	own        = 0x20
	overTCP4   = 0x11
	overTCP6   = 0x21
)

// readHeader reads the header of the PROXY protocol if there is one, and answers
// who the client is, which is not valid if it is the proxy, and what else was
// read.
func readHeader(r io.Reader) (client netip.AddrPort, rest []byte, err error) {
	head := make([]byte, headerSize)
	for n := 0; n < headerSize; {
		more, err := r.Read(head[n:])
		n += more
		if !bytes.HasPrefix(head[:n], []byte(signature)[:min(n, len(signature))]) {
			return netip.AddrPort{}, head[:n], nil // a request
		}
		if err != nil && n < headerSize {
			return netip.AddrPort{}, nil, fmt.Errorf("read PROXY header: %w", err)
		}
	}
	size := int(binary.BigEndian.Uint16(head[14:]))
	if size > maxHeader {
		return netip.AddrPort{}, nil, fmt.Errorf("PROXY header of %d bytes, want %d at most", size, maxHeader)
	}
	said := make([]byte, size)
	if _, err := io.ReadFull(r, said); err != nil {
		return netip.AddrPort{}, nil, fmt.Errorf("read PROXY header: %w", err)
	}
	client, err = source(head[12], head[13], said)
	return client, nil, err
}

// source is the address in a header.
func source(command, family byte, said []byte) (netip.AddrPort, error) {
	switch {
	case command == own:
		return netip.AddrPort{}, nil
	case command != proxied:
		return netip.AddrPort{}, fmt.Errorf("PROXY header with version and command %#x", command)
	case family == overTCP4 && len(said) >= 12:
		a := netip.AddrFrom4([4]byte(said[:4]))
		return netip.AddrPortFrom(a, binary.BigEndian.Uint16(said[8:])), nil
	case family == overTCP6 && len(said) >= 36:
		a := netip.AddrFrom16([16]byte(said[:16])).Unmap()
		return netip.AddrPortFrom(a, binary.BigEndian.Uint16(said[32:])), nil
	default:
		return netip.AddrPort{}, fmt.Errorf("PROXY header of family %#x with %d bytes", family, len(said))
	}
}
