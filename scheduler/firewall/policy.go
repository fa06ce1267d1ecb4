package firewall

import (
	"bytes"
	_ "embed"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
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
	// Bridges are those there are: containers on the same one reach each other.
	Bridges []string
	// Edges are where the proxy listens for containers.
	Edges []netip.AddrPort
	// Resolvers are the name servers, which may be asked for names only.
	Resolvers []netip.Addr
	// Internet says that containers may reach what is in no closed network.
	Internet bool
	// Open and Closed are networks that containers may and may not reach,
	// whatever else is said. Open wins.
	Open, Closed []netip.Prefix
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
	bridges, pairs := []string{}, []string{}
	for _, b := range slices.Sorted(slices.Values(append(slices.Clone(p.Bridges), p.Prefix))) {
		if !interfaceName.MatchString(b) {
			return "", fmt.Errorf("%q is not the name of an interface", b)
		}
		if b != p.Prefix {
			bridges, pairs = append(bridges, fmt.Sprintf("%q", b)), append(pairs, fmt.Sprintf("%q . %[1]q", b))
		}
	}
	var out bytes.Buffer
	err := rulesTemplate.Execute(&out, map[string]any{
		"Table": table(p.Cluster), "Prefix": p.Prefix, "Internet": p.Internet,
		"Bridges": slices.Compact(bridges), "Pairs": slices.Compact(pairs),
		"Edges": texts(p.Edges, func(a netip.AddrPort) string {
			return fmt.Sprintf("%s . %d", a.Addr().Unmap(), a.Port())
		}),
		"Resolvers": texts(p.Resolvers, netip.Addr.String),
		"Open":      texts(p.Open, netip.Prefix.String),
		"Closed":    texts(append(slices.Clone(private), p.Closed...), netip.Prefix.String),
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
