package multihost

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

// back is how soon a component or an edge that was killed serves again.
const back = 5 * time.Second

// TestFull goes through every fault, on hosts two of which have the platform's
// components.
func TestFull(t *testing.T) {
	if os.Getenv("MICRO_TEST_MULTIHOST") == "" {
		t.Skip("it takes a quarter of an hour: make multihost, or MICRO_TEST_MULTIHOST=1")
	}
	s := newSite(t, 2)
	_, alice := signup(t, s, "alice")
	f := &full{s, balance(t, s), alice}
	for _, experiment := range []struct {
		name string
		run  func(*testing.T, string)
	}{
		{"a component is killed", f.components},
		{"an edge is killed", f.edges},
		{"Docker restarts", f.dockerRestarts},
		{"Docker is killed", f.dockerIsKilled},
		{"a host is lost", f.follower},
		{"the leader is lost", f.leader},
	} {
		t.Run(experiment.name, func(t *testing.T) { experiment.run(t, experiment.name) })
	}
}

type full struct {
	site     *Site
	balancer *Balancer
	alice    *Tenant
}

func (f *full) kinds() []Kind { return f.alice.platformKinds() }

// components kills every instance in turn.
func (f *full) components(t *testing.T, name string) {
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
				until(ctx, time.Now().Add(time.Second)) // for the others to find it again
			}
		}
		return nil
	})
	judge(t, name, f.balancer, f.alice, traffic, at, perMille)
	if !report.Within(name, "the slowest to be back", longest, back) {
		t.Errorf("a component was away for %v", longest)
	}
}

// edges kills every edge in turn.
func (f *full) edges(t *testing.T, name string) {
	var longest time.Duration
	for _, n := range f.site.Rig.Nodes {
		for _, edge := range edges {
			title := fmt.Sprintf("%s: %s on %s", name, edge, n.Name)
			traffic, at := underTraffic(t, f.balancer, f.kinds(), 3*time.Second, func(ctx context.Context) error {
				away, err := f.site.KillEdge(ctx, n, edge)
				longest = max(longest, away)
				return err
			})
			judge(t, title, f.balancer, f.alice, traffic, at, window(errorWindow))
		}
	}
	if !report.Within(name, "the slowest to be back", longest, back) {
		t.Errorf("an edge was away for %v", longest)
	}
}

func (f *full) dockerRestarts(t *testing.T, name string) { f.docker(t, name, (*Node).StopDocker) }
func (f *full) dockerIsKilled(t *testing.T, name string) { f.docker(t, name, (*Node).KillDocker) }

// dockerWindow is how long a host may fail calls whose Docker restarts.
const dockerWindow = 15 * time.Second

func (f *full) docker(t *testing.T, name string, stop func(*Node) error) {
	n := f.site.Rig.Nodes[1]
	traffic, at := underTraffic(t, f.balancer, f.kinds(), settled, func(ctx context.Context) error {
		return errors.Join(stop(n), n.StartDocker(ctx), f.site.edgesAnswer(ctx, n))
	})
	judge(t, name, f.balancer, f.alice, traffic, at, window(dockerWindow))
}

func (f *full) follower(t *testing.T, name string) {
	leader, err := f.site.Rig.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// One that has components, if the leader leaves one.
	i := slices.IndexFunc(f.site.Rig.Nodes, func(n *Node) bool { return n != leader })
	f.lose(t, name, f.site.Rig.Nodes[i])
}

func (f *full) leader(t *testing.T, name string) {
	leader, err := f.site.Rig.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.lose(t, name, leader)
}

// healed is how soon a host that comes back works with the others again.
const healed = time.Minute

// lose cuts a host off under traffic, and heals it under traffic.
func (f *full) lose(t *testing.T, name string, n *Node) {
	t.Logf("%s is lost", n.Name)
	traffic, at := underTraffic(t, f.balancer, f.kinds(), settled, n.Cut)
	judge(t, name, f.balancer, f.alice, traffic, at, window(errorWindow))
	name += ", and comes back"
	traffic, at = underTraffic(t, f.balancer, f.kinds(), settled, n.Heal)
	judge(t, name, f.balancer, f.alice, traffic, at, window(errorWindow))
	began := time.Now()
	err := poll(t.Context(), healed, func() error {
		_, err := f.site.Rig.Leader(t.Context())
		return errors.Join(err, f.site.Rig.ready(t.Context()))
	})
	if err != nil {
		t.Error(err)
	}
	report.Within(name, "the Swarm is whole", time.Since(began)+settled, healed)
}
