package containers

import (
	"context"
	"testing"

	"github.com/docker/docker/api/types/container"

	"github.com/micro/platform/scheduler/plan"
)

// engine is a Docker with one container.
type engine struct {
	Engine
	state   container.ContainerState
	is      container.State
	inspect int // how often it was asked
}

func (e *engine) ContainerList(context.Context, container.ListOptions) ([]container.Summary, error) {
	id := plan.ID{Namespace: "ns", Service: "web", Version: "latest", Revision: 1}
	return []container.Summary{{ID: "c", State: e.state, Labels: plan.Labels("x", id)}}, nil
}

func (e *engine) ContainerInspect(context.Context, string) (container.InspectResponse, error) {
	e.inspect++
	return container.InspectResponse{ContainerJSONBase: &container.ContainerJSONBase{State: &e.is, HostConfig: &container.HostConfig{}}}, nil
}

// TestShortLife: a container that was made at one look and had ended at the next
// has run, and is inspected once.
func TestShortLife(t *testing.T) {
	t.Parallel()
	e := &engine{state: container.StateCreated}
	d := New(e, Options{Cluster: "x"})
	look := func() (started, ended int64) {
		t.Helper()
		all, err := d.Probe(t.Context())
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		return all[0].GetStarted(), all[0].GetEnded()
	}
	if started, ended := look(); started != 0 || ended != 0 || e.inspect != 0 {
		t.Errorf("before its start: %d, %d, inspected %d times", started, ended, e.inspect)
	}
	e.state, e.is = container.StateExited, container.State{StartedAt: "2026-01-02T03:04:05.000001Z", FinishedAt: "2026-01-02T03:04:06.000002Z", ExitCode: 1}
	for range 2 {
		if started, ended := look(); ended-started != 1_000_001 {
			t.Errorf("it ran from %d to %d", started, ended)
		}
	}
	if e.inspect != 1 {
		t.Errorf("it was inspected %d times", e.inspect)
	}
}

// busy is a Docker that inspects few containers in the time of one look.
type busy struct {
	Engine
	ids  []string
	left int
}

func (b *busy) ContainerList(context.Context, container.ListOptions) ([]container.Summary, error) {
	var out []container.Summary
	for _, id := range b.ids {
		out = append(out, container.Summary{ID: id, State: container.StateExited})
	}
	return out, nil
}

func (b *busy) ContainerInspect(context.Context, string) (container.InspectResponse, error) {
	if b.left--; b.left < 0 {
		return container.InspectResponse{}, context.DeadlineExceeded
	}
	return container.InspectResponse{ContainerJSONBase: &container.ContainerJSONBase{State: &container.State{}, HostConfig: &container.HostConfig{}}}, nil
}

// TestLookGoesOn: a look that does not get through all containers in its time is
// gone on with by the next.
func TestLookGoesOn(t *testing.T) {
	t.Parallel()
	b := &busy{ids: []string{"a", "b", "c", "d", "e"}}
	d := New(b, Options{Cluster: "x"})
	for looks := 1; ; looks++ {
		b.left = 2
		all, err := d.Probe(t.Context())
		if err == nil {
			if len(all) != len(b.ids) || looks != 3 {
				t.Errorf("%d containers after %d looks", len(all), looks)
			}
			return
		}
		if looks == 10 {
			t.Fatal("no look gets through")
		}
	}
}
