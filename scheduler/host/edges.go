package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"

	"github.com/micro/platform/scheduler/plan"
)

// edges are the containers of this host that the edges of the platform run in.
type edges struct {
	docker  *client.Client
	cluster string
	log     *slog.Logger

	mu       sync.Mutex // held while edges join and leave
	networks []string   // that they were told to be in last
}

func newEdges(docker *client.Client, cluster string, log *slog.Logger) *edges {
	return &edges{docker: docker, cluster: cluster, log: log}
}

// join makes the edges members of networks, and of those to leave not.
func (e *edges) join(ctx context.Context, networks, leave []string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.networks = slices.Clone(networks)
	return e.arrange(ctx, leave)
}

// arrange makes the edges members of the networks that they were told. The caller
// holds mu.
func (e *edges) arrange(ctx context.Context, leave []string) error {
	found, err := e.docker.ContainerList(ctx, container.ListOptions{Filters: e.own()})
	if err != nil {
		return fmt.Errorf("list edges: %w", err)
	}
	failures := make([]error, len(found))
	var work sync.WaitGroup
	for i, c := range found {
		work.Go(func() { failures[i] = e.place(ctx, c, leave) })
	}
	work.Wait()
	return errors.Join(failures...)
}

func (e *edges) own() filters.Args {
	return filters.NewArgs(filters.Arg("label", plan.LabelCluster+"="+e.cluster), filters.Arg("label", plan.LabelPart+"="+plan.PartEdge))
}

// place makes one edge a member of the networks. One that cannot be joined does
// not keep it from the others.
func (e *edges) place(ctx context.Context, c container.Summary, leave []string) error {
	in := map[string]bool{}
	if c.NetworkSettings != nil {
		for name := range c.NetworkSettings.Networks {
			in[name] = true
		}
	}
	var failures []error
	for _, name := range e.networks {
		if !in[name] {
			failures = append(failures, e.connect(ctx, name, c.ID))
		}
	}
	for _, name := range leave {
		if in[name] {
			failures = append(failures, past(e.docker.NetworkDisconnect(ctx, name, c.ID, false)))
		}
	}
	return errors.Join(failures...)
}

// connect makes an edge a member of a network. What it is called there depends on
// its command: services look for the proxy.
func (e *edges) connect(ctx context.Context, name, id string) error {
	info, err := e.docker.ContainerInspect(ctx, id)
	if err != nil {
		return past(err)
	}
	var endpoint network.EndpointSettings
	if slices.Contains(info.Args, "proxy") {
		endpoint.Aliases = []string{plan.EdgeName}
	}
	began := time.Now()
	if err := past(e.docker.NetworkConnect(ctx, name, id, &endpoint)); err != nil {
		return fmt.Errorf("connect an edge to network %s: %w", name, err)
	}
	e.log.Debug("an edge joined a network", "network", name, "edge", info.Name, "took", time.Since(began))
	return nil
}

// past leaves out the errors of what was so already, or is no more.
func past(err error) error {
	if errdefs.IsNotFound(err) || errdefs.IsConflict(err) || errdefs.IsAlreadyExists(err) || errdefs.IsPermissionDenied(err) {
		return nil
	}
	return err
}

// again is the pause before Docker's events are asked for again.
const again = 500 * time.Millisecond

// watch has edges that start join the networks, until ctx ends.
func (e *edges) watch(ctx context.Context) error {
	for {
		err := e.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		e.log.Debug("edges are not watched", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(again):
		}
	}
}

// session watches until Docker is away.
func (e *edges) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := e.own()
	f.Add("type", string(events.ContainerEventType))
	f.Add("event", string(events.ActionStart))
	started, lost := e.docker.Events(ctx, events.ListOptions{Filters: f})
	for {
		if err := e.rejoin(ctx); err != nil {
			e.log.Warn("an edge is not in every network yet", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-lost:
			return err
		case <-started:
		}
	}
}

// rejoin has edges join what they were told last.
func (e *edges) rejoin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.networks) == 0 {
		return nil
	}
	return e.arrange(ctx, nil)
}
