package firewall

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func policy(cluster string) Policy {
	return Policy{
		Cluster: cluster, Prefix: "mu" + cluster[:4],
		Networks:  []Network{{"mu" + cluster[:4] + "two", true}, {"mu" + cluster[:4] + "one", false}},
		Edges:     []netip.AddrPort{netip.MustParseAddrPort("172.17.0.1:8081"), netip.MustParseAddrPort("[fd00::1]:8081")},
		Resolvers: []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")},
		Open:      []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")},
		Closed:    []netip.Prefix{netip.MustParsePrefix("8.8.0.0/16")},
	}
}

func TestRuleset(t *testing.T) {
	t.Parallel()
	got, err := policy("test").ruleset()
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/ruleset.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || got != string(want) {
		t.Errorf("%v: ruleset (-want +got)\n%s", err, cmp.Diff(string(want), got))
	}
}

// TestNothingIsInjected shows that names which reach a script are checked.
func TestNothingIsInjected(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Policy){
		"cluster": func(p *Policy) { p.Cluster = "x { }\nflush ruleset" },
		"prefix":  func(p *Policy) { p.Prefix = `mu" accept` },
		"bridge":  func(p *Policy) { p.Networks = []Network{{Bridge: "eth0\"; }"}} },
		"empty":   func(p *Policy) { p.Prefix = "" },
	} {
		p := policy("test")
		change(&p)
		if s, err := p.ruleset(); err == nil {
			t.Errorf("%s: %s", name, s)
		}
	}
}

// kernel lends a cluster of its own on this host's real firewall. Its rules
// concern interfaces that are not there.
func kernel(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may set this host's firewall")
	}
	cluster := "t" + strings.ToLower(rand.Text()[:10])
	t.Cleanup(func() {
		if err := Remove(context.Background(), cluster); err != nil {
			t.Error(err)
		}
	})
	return cluster
}

func listed(t *testing.T, cluster string) bool {
	t.Helper()
	out, err := nft(t.Context(), "", "list", "tables")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(out, "inet "+table(cluster)+"\n")
}

// TestAssertMends shows that rules somebody took away or changed come back,
// that nothing happens while they are there, and that they go with the last
// network.
func TestAssertMends(t *testing.T) {
	t.Parallel()
	p := policy(kernel(t))
	var log strings.Builder
	f := New(func(context.Context) (Policy, error) { return p, nil }, slog.New(slog.NewTextHandler(&log, nil)))
	assert := func(mended int) {
		t.Helper()
		if err := f.Assert(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := f.State(); !s.InForce || s.Problem != "" || s.Mended != mended {
			t.Fatalf("%+v, want %d times mended", s, mended)
		}
	}
	assert(0)
	assert(0)
	for i, harm := range []string{
		"delete table inet " + table(p.Cluster),
		"flush chain inet " + table(p.Cluster) + " to_host",
		"add element inet " + table(p.Cluster) + " open { 169.254.0.0/16 }",
		"flush chain inet " + egressTable(p.Cluster) + " forward",
	} {
		if _, err := nft(t.Context(), harm+"\n", "-f", "-"); err != nil {
			t.Fatal(err)
		}
		assert(i + 1)
		assert(i + 1)
	}
	if !strings.Contains(log.String(), "missing or changed") {
		t.Errorf("the log says %q", log.String())
	}
	p.Networks = append(p.Networks, Network{p.Prefix + "three", false})
	assert(4)
	p.Networks[2].Internet = true // its plan is another
	assert(4)
	p.Networks = nil
	assert(4)
	if listed(t, p.Cluster) {
		t.Error("the table is still there, and no network is")
	}
}

// TestClustersAreApart shows that what one does leaves another's rules alone,
// also when both are the same cluster's schedulers.
func TestClustersAreApart(t *testing.T) {
	t.Parallel()
	one, two := policy(kernel(t)), policy(kernel(t))
	of := func(p Policy) *Firewall {
		return New(func(context.Context) (Policy, error) { return p, nil }, slog.New(slog.DiscardHandler))
	}
	first, again, other := of(one), of(one), of(two)
	for range 2 {
		for _, f := range []*Firewall{first, other, again} {
			if err := f.Assert(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := Remove(t.Context(), two.Cluster); err != nil {
		t.Fatal(err)
	}
	if err := first.Assert(t.Context()); err != nil || first.State().Mended+again.State().Mended != 0 || !listed(t, one.Cluster) {
		t.Errorf("%+v, %+v, %v", first.State(), again.State(), err)
	}
}

// TestProblemIsSaid shows that rules which cannot be set are not thought set.
func TestProblemIsSaid(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	var log strings.Builder
	f := New(func(context.Context) (Policy, error) { return policy("test"), nil }, slog.New(slog.NewTextHandler(&log, nil)))
	for range 2 {
		if err := f.Assert(t.Context()); err == nil {
			t.Error("no error")
		}
	}
	if s := f.State(); s.InForce || !strings.Contains(s.Problem, "install nftables") {
		t.Errorf("%+v", s)
	}
	if n := strings.Count(log.String(), "cannot be set"); n != 1 {
		t.Errorf("said %d times: %s", n, log.String())
	}
}

// TestUnknownPolicy shows that a Docker which is away changes nothing.
func TestUnknownPolicy(t *testing.T) {
	t.Parallel()
	away := errors.New("Docker is away")
	f := New(func(context.Context) (Policy, error) { return Policy{}, away }, slog.New(slog.DiscardHandler))
	if err := f.Assert(t.Context()); !errors.Is(err, away) || f.State() != (State{}) {
		t.Errorf("%v, %+v", err, f.State())
	}
}

// TestSent shows that what was sent outlives the rules, and that a host where
// nothing ran has sent nothing.
func TestSent(t *testing.T) {
	t.Parallel()
	p := policy(kernel(t))
	if sent, err := Sent(t.Context(), p.Cluster); err != nil || len(sent) > 0 {
		t.Errorf("before: %v, %v", sent, err)
	}
	f := New(func(context.Context) (Policy, error) { return p, nil }, slog.New(slog.DiscardHandler))
	assert := func() {
		t.Helper()
		if err := f.Assert(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	assert()
	bridge := p.Networks[0].Bridge
	count := fmt.Sprintf("add element inet %s sent { %s counter packets 2 bytes 3000 }\n", egressTable(p.Cluster), bridge)
	if _, err := nft(t.Context(), count, "-f", "-"); err != nil {
		t.Fatal(err)
	}
	for _, networks := range [][]Network{{{bridge, false}}, nil, {{bridge, true}}} {
		p.Networks = networks
		assert()
		sent, err := Sent(t.Context(), p.Cluster)
		if want := map[string]int64{bridge: 3000}; err != nil || !maps.Equal(sent, want) {
			t.Errorf("with %v: %v, %v, want %v", networks, sent, err, want)
		}
	}
	if n := f.State().Mended; n > 0 {
		t.Errorf("counting is taken for a change, %d times", n)
	}
}
