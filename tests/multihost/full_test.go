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

// TestFull goes through every fault, on hosts two of which have the platform's
// components.
func TestFull(t *testing.T) {
	if os.Getenv(full) == "" {
		t.Skip("it takes half an hour: make multihost, or " + full + "=1")
	}
	skipWithout(t)
	f := setup(t, 2)
	f.deploy(t)
	f.update(t, "rolling update")
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
				until(ctx, time.Now().Add(time.Second)) // for the others to find it again
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

func (f *fixture) dockerRestarts(t *testing.T, name string) { f.docker(t, name, (*Node).StopDocker) }
func (f *fixture) dockerIsKilled(t *testing.T, name string) { f.docker(t, name, (*Node).KillDocker) }

// dockerWindow is how long a host may fail calls whose Docker restarts.
const dockerWindow = 15 * time.Second

func (f *fixture) docker(t *testing.T, name string, stop func(*Node) error) {
	n := f.site.Rig.Nodes[1]
	traffic, at := underTraffic(t, f.balancer, f.kinds(), settled, func(ctx context.Context) error {
		return errors.Join(stop(n), n.StartDocker(ctx), f.site.edgesAnswer(ctx, n))
	})
	f.judge(t, name, traffic, at, window(dockerWindow))
}

func (f *fixture) follower(t *testing.T, name string) {
	leader, err := f.site.Rig.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// One that has components, if the leader leaves one.
	i := slices.IndexFunc(f.site.Rig.Nodes, func(n *Node) bool { return n != leader })
	f.spread(t)
	f.lose(t, name, f.site.Rig.Nodes[i])
	f.heal(t, name+", and comes back", f.site.Rig.Nodes[i])
}

func (f *fixture) leader(t *testing.T, name string) {
	leader, err := f.site.Rig.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.spread(t)
	f.lose(t, name, leader)
	f.heal(t, name+", and comes back", leader)
}
