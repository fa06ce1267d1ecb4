package dockerhost

import (
	"bufio"
	"bytes"
	"net/netip"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/system"
)

// Runtime is a way of Docker's to run containers.
type Runtime struct {
	Name string
	// Sockets says that programs inside reach sockets that are mounted from the
	// host, which gVisor allows with --host-uds only.
	Sockets bool
}

// Runtimes is what of a Docker's runtimes matters here.
type Runtimes struct {
	Default string
	// GVisor are those that are gVisor, by name.
	GVisor []Runtime
}

// RuntimesOf looks for gVisor among a Docker's runtimes. It is what is called
// runsc, or starts a program of that name.
func RuntimesOf(info system.Info) Runtimes {
	r := Runtimes{Default: info.DefaultRuntime}
	for name, x := range info.Runtimes {
		if name == "runsc" || path.Base(x.Path) == "runsc" || strings.Contains(x.Type, "runsc") {
			r.GVisor = append(r.GVisor, Runtime{name, slices.ContainsFunc(x.Args, opensSockets)})
		}
	}
	slices.SortFunc(r.GVisor, func(a, b Runtime) int { return strings.Compare(a.Name, b.Name) })
	return r
}

func opensSockets(arg string) bool {
	value, ok := strings.CutPrefix(strings.TrimLeft(arg, "-"), "host-uds=")
	return ok && (value == "open" || value == "all")
}

// DefaultIsGVisor says whether containers run in gVisor that ask for nothing.
func (r Runtimes) DefaultIsGVisor() bool {
	return slices.ContainsFunc(r.GVisor, func(x Runtime) bool { return x.Name == r.Default })
}

// resolvConfs are where the name servers of this host stand. Docker takes those
// of systemd's when the usual file names nobody but systemd's own.
var resolvConfs = []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"}

// public are the name servers that Docker gives to containers of a host that
// has none they could reach.
var public = []netip.Addr{netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("8.8.4.4")}

// Resolvers answers the name servers that Docker's containers ask.
func Resolvers() ([]netip.Addr, error) {
	for _, name := range resolvConfs {
		b, err := os.ReadFile(name)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if found := nameservers(b); len(found) > 0 {
			return found, nil
		}
	}
	return public, nil
}

// nameservers reads a resolv.conf, without what is inside a host.
func nameservers(conf []byte) []netip.Addr {
	var out []netip.Addr
	for lines := bufio.NewScanner(bytes.NewReader(conf)); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(f[1]); err == nil && !a.IsLoopback() {
			out = append(out, a)
		}
	}
	return out
}
