package host

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestWriteEdges: the lines of edges change, in the same file, and no others.
func TestWriteEdges(t *testing.T) {
	t.Parallel()
	a, b := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")
	for _, tt := range []struct {
		name, was string
		edges     []netip.Addr
		want      string
	}{
		{"the first", "127.0.0.1\tlocalhost\n10.0.0.9\tc1\n", []netip.Addr{b, a}, "127.0.0.1\tlocalhost\n10.0.0.9\tc1\n10.0.0.3\tmicro-edge\n10.0.0.2\tmicro-edge\n"},
		{"another", "10.0.0.3\tmicro-edge\n10.0.0.9\tc1\n", []netip.Addr{a}, "10.0.0.9\tc1\n10.0.0.2\tmicro-edge\n"},
		{"none", "10.0.0.9\tc1\n10.0.0.3\tmicro-edge\n", nil, "10.0.0.9\tc1\n"},
		{"after half a line", "10.0.0.9\tc1", []netip.Addr{a}, "10.0.0.9\tc1\n10.0.0.2\tmicro-edge\n"},
		{"nothing yet", "", []netip.Addr{a}, "10.0.0.2\tmicro-edge\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			name := filepath.Join(t.TempDir(), "hosts")
			if err := os.WriteFile(name, []byte(tt.was), 0o644); err != nil {
				t.Fatal(err)
			}
			before, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := writeEdges(name, tt.edges); err != nil {
				t.Fatal(err)
			}
			is, err := os.ReadFile(name)
			if err != nil || string(is) != tt.want {
				t.Errorf("%q, %v, want %q", is, err, tt.want)
			}
			if after, err := os.Stat(name); err != nil || !os.SameFile(before, after) {
				t.Errorf("it is another file: %v", err)
			}
		})
	}
	if err := writeEdges(filepath.Join(t.TempDir(), "gone"), []netip.Addr{a}); err != nil {
		t.Errorf("a container that is gone: %v", err)
	}
}

// TestFirstService: the first service of a network is told of the edge on its host
// without a question, which may take longer than its program does to look for it.
func TestFirstService(t *testing.T) {
	t.Parallel()
	n := newNames(nil, "c", nil, slog.New(slog.DiscardHandler)) // there is nobody to ask
	proxy, gateway, remote := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3"), netip.MustParseAddr("10.0.1.2")
	for network, tt := range map[string]struct {
		known, want []netip.Addr
		proxy       bool
	}{
		"nothing is known":           {nil, []netip.Addr{proxy}, true},
		"it is known, and not there": {[]netip.Addr{remote}, []netip.Addr{remote}, false},
	} {
		n.known[network] = tt.known
		got := n.edges(t.Context(), "", network, []member{
			{id: "gateway", edge: true, running: tt.proxy, ip: gateway},
			{id: "proxy", edge: true, proxy: true, running: tt.proxy, ip: proxy},
			{id: "other", edge: true, proxy: true, ip: netip.MustParseAddr("10.0.0.4")},
			{id: "service"},
		})
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: it is told of %v, want %v", network, got, tt.want)
		}
	}
}
