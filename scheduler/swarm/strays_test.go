package swarm

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/docker/docker/api/types/swarm"

	hostpb "github.com/micro/platform/proto/host"
)

// managers is a swarm as its managers see it.
type managers struct {
	Engine
	second swarm.NodeState
	wants  swarm.TaskState // of the task on the second host; empty if they have none
	other  swarm.TaskState // of the task in its place
}

func (m managers) NodeList(context.Context, swarm.NodeListOptions) ([]swarm.Node, error) {
	return []swarm.Node{
		{ID: "one", Status: swarm.NodeStatus{State: swarm.NodeStateReady, Addr: "10.0.0.1"}},
		{ID: "two", Status: swarm.NodeStatus{State: m.second, Addr: "10.0.0.2"}},
	}, nil
}

func (m managers) TaskList(context.Context, swarm.TaskListOptions) ([]swarm.Task, error) {
	if m.wants == "" {
		return nil, nil
	}
	return []swarm.Task{
		{ID: "task of 10.0.0.2", ServiceID: "web", Slot: 1, DesiredState: m.wants},
		{ID: "another", ServiceID: "web", Slot: 1, DesiredState: swarm.TaskStateRunning, Status: swarm.TaskStatus{State: m.other}},
	}, nil
}

// TestStrays shows which containers are stopped on a host that the managers have
// lost.
func TestStrays(t *testing.T) {
	t.Parallel()
	const run, starts = swarm.TaskStateRunning, swarm.TaskStateStarting
	for _, tt := range []struct {
		name  string
		swarm managers
		down  time.Duration
		hangs bool
		want  []string
	}{
		{"replaced", managers{nil, swarm.NodeStateDown, swarm.TaskStateShutdown, run}, strayAfter, false, []string{"10.0.0.2"}},
		{"removed", managers{nil, swarm.NodeStateDown, swarm.TaskStateRemove, run}, strayAfter, false, []string{"10.0.0.2"}},
		{"removed with all others", managers{nil, swarm.NodeStateDown, swarm.TaskStateRemove, swarm.TaskStateRemove}, strayAfter, false, []string{"10.0.0.2"}},
		{"forgotten", managers{nil, swarm.NodeStateDown, "", run}, strayAfter, false, []string{"10.0.0.2"}},
		{"down for a moment", managers{nil, swarm.NodeStateDown, swarm.TaskStateShutdown, run}, strayAfter / 2, false, nil},
		{"the other does not run yet", managers{nil, swarm.NodeStateDown, swarm.TaskStateShutdown, starts}, strayAfter, false, nil},
		{"nobody in its place", managers{nil, swarm.NodeStateDown, run, starts}, strayAfter, false, nil},
		{"Docker does it itself", managers{nil, swarm.NodeStateReady, swarm.TaskStateShutdown, run}, strayAfter, false, nil},
		{"off", managers{nil, swarm.NodeStateDown, swarm.TaskStateShutdown, run}, strayAfter, true, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			others, h := otherHosts(t)
			others["10.0.0.2"].hangs.Store(tt.hangs)
			d := New(tt.swarm, Options{Cluster: "t", Dial: h.dial}, slog.New(slog.DiscardHandler))
			t.Cleanup(d.Close)
			if err := d.stopStrays(t.Context(), h, map[string]time.Time{"two": time.Now().Add(-tt.down)}); err != nil {
				t.Fatal(err)
			}
			if got := others["10.0.0.2"].stopped; !slices.Equal(got, tt.want) || others["10.0.0.1"].stopped != nil {
				t.Errorf("stopped %v, want %v, and on the other host %v", got, tt.want, others["10.0.0.1"].stopped)
			}
		})
	}
}

// TestStop has the host of a service's container stop it.
func TestStop(t *testing.T) {
	t.Parallel()
	b := several(t)
	s := b.plan(t, "ns", "web", "serve", ":8080")
	b.apply(t, s)
	b.wait(t, s.ID, running)
	found, err := b.hosts.probe(t.Context())
	if err != nil || len(found) != 1 {
		t.Fatalf("%v, %v", found, err)
	}
	id := found[0].GetId()
	ctx, cancel := ask(t.Context(), strayTimeout)
	defer cancel()
	if _, err := b.hosts.list()[0].agent.client.Stop(ctx, &hostpb.StopRequest{Containers: []string{id, "none"}}); err != nil {
		t.Fatal(err)
	}
	if info, err := b.engine.ContainerInspect(t.Context(), id); err != nil && !isGone(err) || err == nil && info.State.Running {
		t.Errorf("%v, %v", info.State, err)
	}
}
