package multihost

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/micro/platform/tests/platform"
)

const (
	// apart is how long a host is cut off, and troubled how long its network is bad.
	apart    = 7 * time.Second
	troubled = 20 * time.Second
	// avoided is how soon other hosts' edges send few calls to such a host, which
	// then take up to slower times as long.
	avoided = 10 * time.Second
	slower  = 2
	// refused is how soon who is cut off hears that what they want cannot be done.
	refused = time.Second
	// budget is how many calls may fail, in thousandths: for a bad network of those in
	// the two minutes that have such a time in them.
	budget, budgeted = 5, 2 * time.Minute
)

// partitions has each host be alone, and one in one direction only, with clients on
// both sides.
func (f *fixture) partitions(t *testing.T, name string) {
	first, second, third := f.site.Rig.Nodes[0], f.site.Rig.Nodes[1], f.site.Rig.Nodes[2]
	for _, x := range []struct {
		name string
		node *Node
		trouble
	}{
		{"is alone", first, alone}, {"is alone", second, alone}, {"is alone", third, alone},
		{"hears nobody", second, deaf}, {"is heard by nobody", second, mute},
	} {
		f.partition(t, fmt.Sprintf("%s: %s %s", name, x.node.Name, x.name), x.node, x.trouble)
		err := poll(t.Context(), 2*time.Minute, func() error { return f.site.Rig.ready(t.Context()) })
		if err != nil {
			t.Fatal(err)
		}
		f.spread(t)
	}
}

func (f *fixture) partition(t *testing.T, name string, n *Node, cut trouble) {
	t.Helper()
	var end time.Time
	inside := &Tenant{Token: f.tenant.Token, run: strings.ReplaceAll(name, " ", "-")}
	var longest time.Duration
	traffic, at := underTraffic(t, f.balancer, f.kinds(), settle(), func(ctx context.Context) error {
		if err := cut(ctx, n, true); err != nil {
			return err
		}
		var because, err error
		began := time.Now()
		var asked time.Time
		longest, asked, because, err = inside.writeAt(ctx, n, began.Add(apart))
		t.Logf("the slowest answer on its side, to who asked %v after the cut: after %v, %v", asked.Sub(began), longest, because)
		end = time.Now()
		return errors.Join(err, cut(ctx, n, false))
	})
	f.judge(t, name, traffic, at, func(experiment string, traffic *Traffic, at time.Time) bool {
		_, inHand, later := traffic.Around(at)
		var during, after time.Duration
		for _, x := range later {
			if x.Due.Before(end) {
				during = max(during, x.Due.Sub(at))
			} else {
				after = max(after, x.Due.Sub(end))
			}
		}
		report.Info(experiment, "failed calls, under way and later", fmt.Sprintf("%d, %d", len(inHand), len(later)))
		ok := report.Within(experiment, "clients' error window", during, errorWindow)
		return report.Within(experiment, "clients' error window when it is back", after, rejoined) && ok
	})
	if !report.Within(name, "slowest answer to those on its side", longest, refused) {
		t.Errorf("%s: somebody on its side waited for %v", name, longest)
	}
	lost, err := inside.lost(t.Context(), f.balancer.Next(true))
	if err != nil {
		t.Fatal(err)
	}
	if !report.Most(name, "acknowledged writes lost of those on its side", len(lost), 0) {
		t.Errorf("%s: lost %v", name, lost)
	}
}

// writeAt makes writes on a host, through its own edge, until end, and answers
// how long the slowest took, when it began, and what became of it.
func (x *Tenant) writeAt(ctx context.Context, n *Node, end time.Time) (slowest time.Duration, at time.Time, because, err error) {
	e, err := newEdge(n, n.Dial)
	if err != nil {
		return 0, at, nil, err
	}
	defer e.Close()
	for i := 0; time.Now().Before(end) && platform.Until(ctx, time.Now().Add(100*time.Millisecond)); i++ {
		began := time.Now()
		ctx, cancel := context.WithTimeout(ctx, callTime)
		err := x.write(ctx, e, i) // most are refused
		cancel()
		if took := time.Since(began); took > slowest {
			slowest, at, because = took, began, err
		}
	}
	return slowest, at, because, nil
}

func (f *fixture) slowLink(t *testing.T, name string)  { f.badLink(t, name, slow) }
func (f *fixture) lossyLink(t *testing.T, name string) { f.badLink(t, name, lossy) }
func (f *fixture) lateLink(t *testing.T, name string)  { f.badLink(t, name, late) }

// badLink has the network of a host be bad for a while. Of how long calls take before
// and then, the best of a few times counts each: whatever else this machine does only
// adds to it.
func (f *fixture) badLink(t *testing.T, name string, bad trouble) {
	goroutines, err := f.site.goroutines(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const times = 3
	before, then := f.troubled(t, name, bad)
	for i := 1; i < times && then > slower*before; i++ {
		b, th := f.troubled(t, name, bad)
		before, then = min(before, b), min(then, th)
	}
	if !report.Within(name, "p99 through the other hosts, after 10 s", then, slower*before) {
		t.Errorf("%s: calls through other hosts take %v, before %v", name, then, before)
	}
	f.flat(t, name, goroutines)
}

// troubled does it once, and answers the p99 of short calls through other hosts
// before, and when the network has been bad for as long as hosts may take to see it.
func (f *fixture) troubled(t *testing.T, name string, bad trouble) (before, then time.Duration) {
	n := f.site.Rig.Nodes[1]
	var begin, end time.Time
	traffic, at := underTraffic(t, f.balancer, f.kinds(), settle(), func(ctx context.Context) error {
		platform.Until(ctx, time.Now().Add(troubled/2))
		begin = time.Now()
		if err := bad(ctx, n, true); err != nil {
			return err
		}
		platform.Until(ctx, begin.Add(troubled))
		end = time.Now()
		avoiding, err := f.site.gauges(ctx, "micro_edge_nodes_avoided", edges...)
		t.Logf("%s: so many nodes are avoided by %v", name, avoiding)
		return errors.Join(err, bad(ctx, n, false))
	})
	elsewhere := func(from, to time.Time) []Answer {
		return traffic.ByTook(func(a Answer) bool {
			return a.Edge != n.Name && strings.HasPrefix(a.Kind, "short") && a.Due.After(from) && a.Due.Before(to)
		})
	}
	quiet, afterwards := elsewhere(at, begin), elsewhere(begin.Add(avoided), end)
	if enough := 100; len(quiet) < enough || len(afterwards) < enough {
		t.Fatalf("%s: %d and %d short calls went through other hosts, want %d", name, len(quiet), len(afterwards), enough)
	}
	before, then = p99(quiet), p99(afterwards)
	for _, a := range afterwards[max(0, len(afterwards)-5):] {
		t.Logf("%s: among the slowest through other hosts: %s by %s, %v after it began, took %v", name, a.Kind, a.Edge, a.Due.Sub(begin).Round(time.Millisecond), a.Took.Round(time.Millisecond))
	}
	f.judge(t, name, traffic, at, func(experiment string, traffic *Traffic, _ time.Time) bool {
		perMinute := float64(traffic.Calls()) / time.Since(at).Minutes()
		return report.Most(experiment, "failed calls", len(traffic.Failures()), int(perMinute*budgeted.Minutes())*budget/1000)
	})
	report.Info(name, "p99 through the other hosts, before, at first, and then",
		fmt.Sprintf("%v, %v, %v", before.Round(time.Millisecond), p99(elsewhere(begin, begin.Add(avoided))).Round(time.Millisecond), then.Round(time.Millisecond)))
	err := poll(t.Context(), 2*time.Minute, func() error { return f.site.Rig.ready(t.Context()) })
	if err != nil {
		t.Fatal(err)
	}
	f.spread(t)
	return before, then
}

// growth is by how many goroutines more than before a process may stay, which are
// those of connections that it did not have.
const growth = 30

// flat waits until no process has more goroutines than growth lets it.
func (f *fixture) flat(t *testing.T, name string, before map[string]int) {
	t.Helper()
	var most int
	err := poll(t.Context(), 2*time.Minute, func() error {
		after, err := f.site.goroutines(t.Context())
		if err != nil {
			return err
		}
		most = 0
		var of string
		for process, n := range after {
			if more := n - before[process]; more > most {
				most, of = more, process
			}
		}
		if most > growth {
			return fmt.Errorf("%s had %d goroutines and has %d", of, before[of], after[of])
		}
		return nil
	})
	if !report.Most(name, "goroutines more than before, of any process", most, growth) || err != nil {
		t.Errorf("%s: %v", name, err)
	}
}
