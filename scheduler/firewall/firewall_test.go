package firewall

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"log/slog"
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
		Cluster: cluster, Prefix: "mu" + cluster[:4], Bridges: []string{"mu" + cluster[:4] + "two", "mu" + cluster[:4] + "one"},
		Edges:     []netip.AddrPort{netip.MustParseAddrPort("172.17.0.1:8081"), netip.MustParseAddrPort("[fd00::1]:8081")},
		Resolvers: []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")},
		Internet:  true,
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
		"bridge":  func(p *Policy) { p.Bridges = []string{"eth0\"; }"} },
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
	p.Bridges = append(p.Bridges, p.Prefix+"three")
	assert(3)
	p.Bridges = nil
	assert(3)
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
