package firewall

import (
	"bytes"
	_ "embed"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
)

// Policy says what the containers of a cluster may reach beside the network of
// their own namespace.
type Policy struct {
	Cluster string
	// Prefix is how the names of the namespaces' bridges start: rules hold for
	// those that are still to come.
	Prefix string
	// Networks are those there are.
	Networks []Network
	// Edges are where the proxy listens for containers.
	Edges []netip.AddrPort
	// Resolvers are the name servers, which may be asked for names only.
	Resolvers []netip.Addr
	// Open and Closed are networks that containers may and may not reach,
	// whatever else is said. Open wins.
	Open, Closed []netip.Prefix
}

// Network is a namespace's: its containers reach each other.
type Network struct {
	// Bridge is its interface.
	Bridge string
	// Internet says that its containers may reach what is in no closed network.
	Internet bool
}

// private are the networks that are not the internet (RFC 6890): the host's
// neighbours, other containers, a cloud's metadata. IPv6 is refused altogether.
var private = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("224.0.0.0/3"), // multicast, reserved, broadcast
}

//go:embed rules.nft
var rules string

var rulesTemplate = template.Must(template.New("rules").Funcs(template.FuncMap{"set": set}).Parse(rules))

// set writes the elements of a set; nftables has no way to write none.
func set(elements []string) string {
	if len(elements) == 0 {
		return ""
	}
	return "elements = { " + strings.Join(elements, ", ") + " }"
}

var (
	clusterName   = regexp.MustCompile(`^[a-z0-9]{1,32}$`)
	interfaceName = regexp.MustCompile(`^[a-z0-9]{1,15}$`)
)

// table is the name of a cluster's table.
func table(cluster string) string { return "micro_" + cluster }

// ruleset is a policy as a script for nft. The same policy is the same script,
// in whatever order its parts are.
func (p Policy) ruleset() (string, error) {
	if !clusterName.MatchString(p.Cluster) {
		return "", fmt.Errorf("cluster %q is no name for a table", p.Cluster)
	}
	if !interfaceName.MatchString(p.Prefix) {
		return "", fmt.Errorf("%q is not how the name of an interface starts", p.Prefix)
	}
	var bridges, pairs, internet []string
	for _, n := range slices.SortedFunc(slices.Values(p.Networks), func(a, b Network) int { return strings.Compare(a.Bridge, b.Bridge) }) {
		if !interfaceName.MatchString(n.Bridge) {
			return "", fmt.Errorf("%q is not the name of an interface", n.Bridge)
		}
		name := strconv.Quote(n.Bridge)
		bridges, pairs = append(bridges, name), append(pairs, name+" . "+name)
		if n.Internet {
			internet = append(internet, name)
		}
	}
	closed := append(slices.Clone(private), p.Closed...)
	uncounted := append(slices.Clone(closed), p.Open...)
	for _, a := range p.Edges {
		uncounted = append(uncounted, netip.PrefixFrom(a.Addr().Unmap(), a.Addr().Unmap().BitLen()))
	}
	for _, a := range p.Resolvers {
		uncounted = append(uncounted, netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()))
	}
	var out bytes.Buffer
	err := rulesTemplate.Execute(&out, map[string]any{
		"Table": table(p.Cluster), "Prefix": p.Prefix,
		"Bridges": slices.Compact(bridges), "Pairs": slices.Compact(pairs), "Internet": slices.Compact(internet),
		"Edges": texts(p.Edges, func(a netip.AddrPort) string {
			return fmt.Sprintf("%s . %d", a.Addr().Unmap(), a.Port())
		}),
		"Resolvers": texts(p.Resolvers, netip.Addr.String),
		"Open":      texts(p.Open, netip.Prefix.String),
		"Closed":    texts(closed, netip.Prefix.String),
		"Uncounted": texts(uncounted, netip.Prefix.String),
	})
	return out.String(), err
}

// texts writes what is IPv4, in order.
func texts[T any](list []T, text func(T) string) []string {
	var out []string
	for _, x := range list {
		if s := text(x); !strings.Contains(s, ":") {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
