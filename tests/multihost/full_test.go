package multihost

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/micro/platform/tests/platform"
)

// TestFull goes through every fault, on hosts two of which have the platform's
// components. -run 'TestFull/(a_host|the_leader)_is_lost' is for some.
func TestFull(t *testing.T) {
	if os.Getenv(full) == "" {
		t.Skip("it takes half an hour: make multihost, or " + full + "=1")
	}
	skipWithout(t)
	f := setup(t, newSite(t, newRig(t, 0), 2))
	f.deploy(t)
	for _, experiment := range []struct {
		name string
		run  func(*testing.T, string)
	}{
		{"rolling update", f.update},
		{"rollback", f.rollback},
		{"a revision that crashes", f.crashing},
		{"a component is killed", f.components},
		{"an edge is killed", f.edges},
		{"Docker restarts on a drained host", f.drained},
		{"Docker restarts", f.dockerRestarts},
		{"Docker is killed", f.dockerIsKilled},
		{"a host is cut off for 7 s", f.partitions},
		{"a host has 1 Mbit/s", f.slowLink},
		{"a host loses a fifth of what is sent to it", f.lossyLink},
		{"what is sent to a host comes 200 ms late", f.lateLink},
		{"a host is lost", f.follower},
		{"a host is lost during a deploy", f.deploying},
		{"the leader is lost", f.leader},
	} {
		t.Run(experiment.name, func(t *testing.T) { experiment.run(t, experiment.name) })
	}
}

// rollback goes back to the revision before, whose image the hosts have, and from
// that to the one that served, and so on: what a single one takes says as much of
// the machine as of the platform.
func (f *fixture) rollback(t *testing.T, name string) {
	const times = 5
	var took []time.Duration
	traffic, at := underTraffic(t, f.balancer, f.kinds(), settle()/2, func(ctx context.Context) error {
		for i := range times {
			answers, err := f.rollBack(ctx, fmt.Sprintf("from code %d", f.codes-2+i%2))
			if err != nil {
				return err
			}
			t.Logf("%s: the revision before answers after %v", name, answers.Round(10*time.Millisecond))
			took = append(took, answers)
			if _, err := f.running(ctx, replicas); err != nil {
				return err
			}
		}
		return nil
	})
	f.judge(t, name, traffic, at, none)
	if len(took) == times {
		first := report.Within(name, "until the revision before answers", took[0], rolledBack)
		slices.Sort(took)
		report.Info(name, "the slowest of five", took[times-1].Round(10*time.Millisecond))
		if !report.Within(name, "the median of five", took[times/2], rolledBack) || !first {
			t.Errorf("rollbacks took %v", took)
		}
	}
	f.spread(t)
}

// rollBack rolls the service back, and answers when a call gets what is wanted.
func (f *fixture) rollBack(ctx context.Context, want string) (time.Duration, error) {
	began := time.Now()
	rolled := make(chan error, 1)
	go func() {
		out, err := f.alice.Micro(ctx, "", "rollback", service)
		if err != nil {
			err = fmt.Errorf("micro rollback: %w: %s", err, out)
		}
		rolled <- err
	}()
	err := poll(ctx, time.Minute, func() error {
		e := f.balancer.Next(false)
		out, err := f.tenant.http(ctx, e.HTTP, http.MethodPost, e.API, "/"+service+"/Call", `{"name": "1ms 0"}`)
		if err == nil && !strings.Contains(out, want) {
			err = fmt.Errorf("it answers %q, not %q", out, want)
		}
		return err
	})
	answers := time.Since(began)
	return answers, errors.Join(err, <-rolled)
}

// crashing deploys a revision that ends as it starts: whoever deploys it is told
// how, and the one before goes on.
func (f *fixture) crashing(t *testing.T, name string) {
	mend, err := platform.BreakWorker(f.project())
	if err != nil {
		t.Fatal(err)
	}
	traffic, at := underTraffic(t, f.balancer, f.kinds(), settle()/2, func(ctx context.Context) error {
		began := time.Now()
		out, err := f.alice.Micro(ctx, "", "update", f.project())
		if err == nil || !strings.Contains(out, "exited with code 3") || !strings.Contains(out, "no such database") {
			return fmt.Errorf("micro update of what crashes: %v: %s", err, out)
		}
		report.Info(name, "until its reason is told", time.Since(began).Round(10*time.Millisecond))
		return nil
	})
	f.judge(t, name, traffic, at, none)
	if err := mend(); err != nil {
		t.Fatal(err)
	}
	f.spread(t)
}

// deploying loses a host while a deploy is under way. That ends, in one way or the
// other.
func (f *fixture) deploying(t *testing.T, name string) {
	leader, err := f.site.Rig.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Components and a builder are on the second, too.
	n := f.site.Rig.Nodes[1]
	if n == leader {
		n = f.site.Rig.Nodes[2]
	}
	var took time.Duration
	var lost time.Time
	traffic, _ := underTraffic(t, f.balancer, f.kinds(), settle(), func(ctx context.Context) error {
		f.write(t)
		began := time.Now()
		said := make(chan string, 1)
		go func() {
			out, _ := f.alice.Micro(ctx, "", "update", f.project()) //nolint:errcheck // the revision says how it ended
			said <- out
		}()
		platform.Until(ctx, began.Add(2*time.Second)) // its builder may be at work
		lost = time.Now()
		if err := n.Cut(ctx); err != nil {
			return err
		}
		t.Logf("%s: %s is lost, micro update: %s", name, n.Name, <-said)
		err := poll(ctx, 2*deployEnds, func() error { return f.ended(ctx, name) })
		took = time.Since(began)
		return err
	})
	f.judge(t, name, traffic, lost, window(errorWindow))
	if !report.Within(name, "the deploy has ended", took, deployEnds) {
		t.Errorf("%s: the deploy ended after %v", name, took)
	}
	f.heal(t, name+", and comes back", n)
	f.spread(t)
}

// ended says whether the newest revision is still on its way.
func (f *fixture) ended(ctx context.Context, name string) error {
	out, err := f.alice.Micro(ctx, "", "revisions", service, "-o", "json")
	if err != nil {
		return fmt.Errorf("micro revisions: %w: %s", err, out)
	}
	type revision struct {
		Revision       int64
		Status, Reason string
	}
	var all []revision
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return err
	}
	if len(all) == 0 {
		return errors.New("there is no revision")
	}
	newest := slices.MaxFunc(all, func(a, b revision) int { return cmp.Compare(a.Revision, b.Revision) })
	if newest.Status != "running" && (newest.Status != "error" || newest.Reason == "") {
		return fmt.Errorf("the newest revision is %+v", newest)
	}
	report.Info(name, "the revision is", strings.TrimSpace(newest.Status+" "+newest.Reason))
	return nil
}

// components kills every instance in turn.
func (f *fixture) components(t *testing.T, name string) {
	var longest time.Duration
	traffic, at := underTraffic(t, f.balancer, f.kinds(), time.Second, func(ctx context.Context) error {
		for _, n := range f.site.Rig.Nodes {
			for _, component := range append([]string{"host"}, control...) {
				u := f.site.Unit(component, n)
				if u == nil {
					continue
				}
				away, err := u.Kill(ctx)
				if err != nil {
					return err
				}
				t.Logf("%s on %s was back after %v", component, n.Name, away.Round(time.Millisecond))
				longest = max(longest, away)
				platform.Until(ctx, time.Now().Add(time.Second)) // for the others to find it again
			}
		}
		return nil
	})
	f.judge(t, name, traffic, at, perMille)
	if !report.Within(name, "the slowest to be back", longest, back) {
		t.Errorf("a component was away for %v", longest)
	}
}

// edges kills every edge in turn.
func (f *fixture) edges(t *testing.T, name string) {
	var longest time.Duration
	for _, n := range f.site.Rig.Nodes {
		for _, edge := range edges {
			title := fmt.Sprintf("%s: %s on %s", name, edge, n.Name)
			traffic, at := underTraffic(t, f.balancer, f.kinds(), 3*time.Second, func(ctx context.Context) error {
				away, err := f.site.KillEdge(ctx, n, edge)
				longest = max(longest, away)
				return err
			})
			f.judge(t, title, traffic, at, window(errorWindow))
		}
	}
	if !report.Within(name, "the slowest to be back", longest, back) {
		t.Errorf("an edge was away for %v", longest)
	}
}

// drained restarts a host's Docker as deploy/README.md says.
func (f *fixture) drained(t *testing.T, name string) {
	n, other := f.site.Rig.Nodes[1], f.site.Rig.Nodes[0]
	available := func(ctx context.Context, how string) error {
		// Swarm refuses what crosses a change of its own ("update out of sequence").
		return poll(ctx, time.Minute, func() error {
			_, err := other.Docker(ctx, "node", "update", "--availability", how, n.Name)
			return err
		})
	}
	traffic, at := underTraffic(t, f.balancer, f.kinds(), settle(), func(ctx context.Context) error {
		err := available(ctx, "drain")
		if err == nil {
			err = poll(ctx, time.Minute, func() error { return f.left(ctx, n) })
		}
		return errors.Join(err, f.site.stopEdges(ctx, n), n.StopDocker(), n.StartDocker(ctx), available(ctx, "active"), f.site.resumeEdges(ctx, n))
	})
	f.judge(t, name, traffic, at, none)
	f.spread(t)
}

// left says what of the tenant's service is still on a host.
func (f *fixture) left(ctx context.Context, n *Node) error {
	where, err := f.site.replicas(ctx, f.namespace())
	if err == nil && (where[n.Name] > 0 || total(where) < replicas) {
		err = fmt.Errorf("replicas on hosts: %v", where)
	}
	return err
}

func (f *fixture) dockerRestarts(t *testing.T, name string) { f.docker(t, name, (*Node).StopDocker) }
func (f *fixture) dockerIsKilled(t *testing.T, name string) { f.docker(t, name, (*Node).KillDocker) }

// dockerWindow is how long a host may fail calls whose Docker restarts.
const dockerWindow = 15 * time.Second

// docker stops and starts the Docker of each host, one after the other.
func (f *fixture) docker(t *testing.T, name string, stop func(*Node) error) {
	for _, n := range f.site.Rig.Nodes {
		traffic, at := underTraffic(t, f.balancer, f.kinds(), settle(), func(ctx context.Context) error {
			return errors.Join(stop(n), n.StartDocker(ctx), f.site.edgesAnswer(ctx, n))
		})
		f.judge(t, name+" on "+n.Name, traffic, at, func(experiment string, traffic *Traffic, at time.Time) bool {
			few := report.Most(experiment, "failed calls", len(traffic.Failures()), traffic.Calls()*budget/1000)
			return window(dockerWindow)(experiment, traffic, at) && few
		})
		err := poll(t.Context(), 2*time.Minute, func() error { return f.site.Rig.ready(t.Context()) })
		if err != nil {
			t.Fatal(err)
		}
		f.spread(t)
	}
}

func (f *fixture) follower(t *testing.T, name string) {
	leader, err := f.site.Rig.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// One that has components, if the leader leaves one.
	i := slices.IndexFunc(f.site.Rig.Nodes, func(n *Node) bool { return n != leader })
	f.lose(t, name, f.site.Rig.Nodes[i], restored)
	f.heal(t, name+", and comes back", f.site.Rig.Nodes[i])
	f.spread(t)
}

func (f *fixture) leader(t *testing.T, name string) {
	leader, err := f.site.Rig.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.lose(t, name, leader, elected)
	f.heal(t, name+", and comes back", leader)
	f.spread(t)
}
