package registry

import (
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/framework/errors"
	registrypb "github.com/micro/platform/proto/registry"
)

// Bounds of one registration.
const (
	maxNodes     = 100
	maxEndpoints = 500
	maxMetadata  = 64        // entries
	maxPair      = 1 << 10   // bytes of a key with its value
	maxDescribed = 256 << 10 // bytes of all endpoints
	maxID        = 256
)

// TTLs in seconds. Nodes of services end by themselves, whatever they ask for.
const (
	minTTL     = 5
	maxTTL     = 120
	defaultTTL = 90
)

// defaultVersion is meant when a registration names none.
const defaultVersion = "latest"

var (
	nameRule    = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,127}$`)
	versionRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/+-]{0,63}$`)
)

func invalid(format string, args ...any) error {
	return errors.New(codes.InvalidArgument, format, args...)
}

// checkName checks the name and version of a service and fills in the version.
func checkName(s *registrypb.Service) error {
	if !nameRule.MatchString(s.GetName()) {
		return invalid("service name %q: 1 to 128 lower-case letters, digits, dots, underscores and hyphens, starting with a letter or digit", errors.Clip(s.GetName()))
	}
	if s.GetVersion() == "" {
		s.Version = defaultVersion
	}
	if !versionRule.MatchString(s.GetVersion()) {
		return invalid("version %q: 1 to 64 letters, digits and . _ / + -, starting with a letter or digit", errors.Clip(s.GetVersion()))
	}
	return nil
}

// checkRegistration checks all of a registration but the nodes' addresses.
func checkRegistration(s *registrypb.Service) error {
	if err := checkName(s); err != nil {
		return err
	}
	if n := len(s.GetNodes()); n == 0 || n > maxNodes {
		return invalid("a registration has 1 to %d nodes, got %d", maxNodes, n)
	}
	seen := map[string]bool{}
	for _, n := range s.GetNodes() {
		if len(n.GetId()) == 0 || len(n.GetId()) > maxID || !printable(n.GetId()) {
			return invalid("node id %q: 1 to %d printable bytes", errors.Clip(n.GetId()), maxID)
		}
		if seen[n.GetId()] {
			return invalid("node %q is named twice", errors.Clip(n.GetId()))
		}
		seen[n.GetId()] = true
		if err := checkMetadata("a node", n.GetMetadata()); err != nil {
			return err
		}
	}
	if err := checkMetadata("a service", s.GetMetadata()); err != nil {
		return err
	}
	if n := len(s.GetEndpoints()); n > maxEndpoints {
		return invalid("a service has at most %d endpoints, got %d", maxEndpoints, n)
	}
	if n := proto.Size(&registrypb.Service{Endpoints: s.GetEndpoints()}); n > maxDescribed {
		return invalid("descriptions of endpoints are at most %d bytes, got %d", maxDescribed, n)
	}
	if strings.ContainsRune(describedText(s), 0) { // Postgres keeps none
		return invalid("descriptions hold a zero byte")
	}
	if s.GetOptions().GetTtl() < 0 {
		return invalid("ttl %d is negative", s.GetOptions().GetTtl())
	}
	return nil
}

// describedText is what of a registration ends up in JSON columns.
func describedText(s *registrypb.Service) string {
	var b strings.Builder
	add := func(m map[string]string) {
		for k, v := range m {
			b.WriteString(k)
			b.WriteString(v)
		}
	}
	add(s.GetMetadata())
	for _, n := range s.GetNodes() {
		add(n.GetMetadata())
	}
	return b.String()
}

func checkMetadata(of string, m map[string]string) error {
	if len(m) > maxMetadata {
		return invalid("metadata of %s has at most %d entries, got %d", of, maxMetadata, len(m))
	}
	for k, v := range m {
		if len(k)+len(v) > maxPair {
			return invalid("metadata %q of %s: key and value are at most %d bytes together", errors.Clip(k), of, maxPair)
		}
	}
	return nil
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError })
}

// lifetime answers the seconds that a node lives unless it is renewed, 0 for
// ever.
func lifetime(asked int64, component bool) int64 {
	switch {
	case asked == 0 && component:
		return 0
	case asked == 0:
		return defaultTTL
	default:
		return min(max(asked, minTTL), maxTTL)
	}
}

// hostPort takes a node's address apart. Older clients send the port in a field
// of its own.
func hostPort(n *registrypb.Node) (host string, port uint16, err error) {
	host = n.GetAddress()
	p := n.GetPort()
	if h, text, err := net.SplitHostPort(host); err == nil {
		host = h
		if p, err = strconv.ParseInt(text, 10, 32); err != nil {
			return "", 0, invalid("node %q: address %q has no port", errors.Clip(n.GetId()), errors.Clip(n.GetAddress()))
		}
	}
	if p < 1 || p > 65535 {
		return "", 0, invalid("node %q: address %q wants a port from 1 to 65535", errors.Clip(n.GetId()), errors.Clip(n.GetAddress()))
	}
	return strings.Trim(host, "[]"), uint16(p), nil
}

// trust is whose word on addresses is taken, and for what.
type trust struct {
	// any is for the platform itself, which has started what it registers.
	any bool
	// loopback is for the operators' namespace: what runs beside the server.
	loopback bool
	// container is for what the platform has deployed, which nothing but its own
	// container speaks for: whoever has its token elsewhere gets no calls.
	container bool
	// observed is where the call came from, if an edge saw it.
	observed netip.Addr
}

// settleAddress checks a node's address and gives it the form host:port. Calls
// are sent there, so a tenant may name nothing but itself: where the call was
// seen to come from wins over what it says, since a process in several networks
// may not know which of its addresses the platform reaches.
func settleAddress(n *registrypb.Node, t trust) error {
	host, port, err := hostPort(n)
	if err != nil {
		return err
	}
	if t.any {
		n.Address, n.Port = net.JoinHostPort(host, strconv.Itoa(int(port))), 0
		return nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || ip.Zone() != "" {
		return invalid("node %q: address %q is not an IP address with a port", errors.Clip(n.GetId()), errors.Clip(n.GetAddress()))
	}
	if !t.loopback && t.observed.IsValid() {
		ip = t.observed
	}
	ip = ip.Unmap()
	if !reachable(ip) && (!t.loopback || !ip.IsLoopback()) {
		return invalid("node %q: address %q must be the caller's own, and one that the platform can reach", errors.Clip(n.GetId()), errors.Clip(n.GetAddress()))
	}
	if t.container && !t.loopback && !ip.IsPrivate() {
		return invalid("node %q: address %q is none of a container, and a deployed service registers from its own", errors.Clip(n.GetId()), ip)
	}
	n.Address, n.Port = netip.AddrPortFrom(ip, port).String(), 0
	return nil
}

// shared is the address space of carriers' NAT, where clouds keep services of
// their own.
var shared = netip.MustParsePrefix("100.64.0.0/10")

// reachable says whether an address can be a tenant's. Private ones are where
// containers live.
func reachable(ip netip.Addr) bool {
	return ip.IsValid() && !ip.IsUnspecified() && !ip.IsLoopback() && !ip.IsMulticast() && !ip.IsLinkLocalUnicast() &&
		!shared.Contains(ip) && ip != netip.AddrFrom4([4]byte{255, 255, 255, 255}) && ip != metadataIPv6
}

// metadataIPv6 is where a cloud answers questions about the machine; IPv4 has a
// link-local address for it.
var metadataIPv6 = netip.MustParseAddr("fd00:ec2::254")
