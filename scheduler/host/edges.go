package host

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/dockerhost"
	"github.com/micro/platform/internal/pause"
	"github.com/micro/platform/scheduler/plan"
)

// edges are the containers of this host that the edges of the platform run in.
type edges struct {
	docker  *client.Client
	cluster string
	log     *slog.Logger
	told    chan struct{} // holds one when there is something new to do

	mu       sync.Mutex
	networks []string // that they were told to be in last
	leave    []string // and not to be in, until that is done
	next     *round   // that somebody waits for
	failure  error    // of the last round
}

// round is one time that the edges are arranged.
type round struct {
	done chan struct{} // closed at its end
	err  error         // is there then
}

func newEdges(docker *client.Client, cluster string, log *slog.Logger) *edges {
	return &edges{docker: docker, cluster: cluster, log: log, told: make(chan struct{}, 1)}
}

// join makes the edges members of networks, and of those to leave not. When ctx
// ends before that is done, it goes on all the same: Docker may take seconds for
// each network.
func (e *edges) join(ctx context.Context, networks, leave []string) error {
	e.mu.Lock()
	e.networks, e.leave = slices.Clone(networks), append(e.leave, leave...)
	slices.Sort(e.leave)
	e.leave = slices.DeleteFunc(slices.Compact(e.leave), func(name string) bool { return slices.Contains(networks, name) })
	if e.next == nil {
		e.next = &round{done: make(chan struct{})}
	}
	r := e.next
	e.mu.Unlock()
	select {
	case e.told <- struct{}{}:
	default:
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return errors.New(codes.DeadlineExceeded, "the edges are still joining networks").Because(ctx.Err())
	}
}

// arrange makes the edges members of the networks that they were told.
func (e *edges) arrange(ctx context.Context) {
	e.mu.Lock()
	networks, leave, r := e.networks, e.leave, e.next
	e.leave, e.next = nil, nil
	e.mu.Unlock()
	err := e.placeAll(ctx, networks, leave)
	if err != nil {
		e.log.Warn("an edge is not in every network yet", "error", err)
	}
	e.mu.Lock()
	e.failure = err
	e.mu.Unlock()
	if r != nil {
		r.err = err
		close(r.done)
	}
}

// behind says why an edge is not in every network: what runs there cannot be
// called through it.
func (e *edges) behind(context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failure == nil {
		return nil
	}
	first, others, _ := strings.Cut(e.failure.Error(), "\n")
	if n := strings.Count(others, "\n"); others != "" {
		return fmt.Errorf("%s, and %d more", first, n+1)
	}
	return e.failure
}

func (e *edges) placeAll(ctx context.Context, networks, leave []string) error {
	listing, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	found, err := e.docker.ContainerList(listing, container.ListOptions{All: true, Filters: e.own()})
	if err != nil {
		return fmt.Errorf("list edges: %w", err)
	}
	failures := make([]error, len(found))
	var work sync.WaitGroup
	for i, c := range found {
		work.Go(func() {
			switch c.State {
			case container.StateRunning:
				failures[i] = e.place(ctx, c, networks, leave)
			case container.StateExited:
				failures[i] = e.free(ctx, c)
			}
		})
	}
	work.Wait()
	return errors.Join(failures...)
}

func (e *edges) own() filters.Args {
	return filters.NewArgs(filters.Arg("label", plan.LabelCluster+"="+e.cluster), filters.Arg("label", plan.LabelPart+"="+plan.PartEdge))
}

// place makes one edge a member of the networks. One that cannot be joined does
// not keep it from the others.
func (e *edges) place(ctx context.Context, c container.Summary, networks, leave []string) error {
	in := map[string]bool{}
	if c.NetworkSettings != nil {
		for name := range c.NetworkSettings.Networks {
			in[name] = true
		}
	}
	var failures []error
	for _, name := range networks {
		if !in[name] {
			failures = append(failures, e.connect(ctx, name, c.ID))
		}
	}
	for _, name := range leave {
		if in[name] {
			failures = append(failures, e.disconnect(ctx, name, c.ID))
		}
	}
	return errors.Join(failures...)
}

// free takes an edge that has ended out of the networks, and starts it again if
// that has failed. Docker connects a container to one network after the other
// before it starts it, and after a start of its own it does not find those that
// go over several hosts.
func (e *edges) free(ctx context.Context, c container.Summary) error {
	var failures []error
	if c.NetworkSettings != nil {
		for name := range c.NetworkSettings.Networks {
			if strings.HasPrefix(name, plan.NetworkPrefix(e.cluster)) {
				failures = append(failures, e.disconnect(ctx, name, c.ID))
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	info, err := e.docker.ContainerInspect(ctx, c.ID)
	if err != nil {
		return past(err)
	}
	if info.State.Error != "" && !info.HostConfig.RestartPolicy.IsNone() {
		e.log.Info("starting an edge again that Docker could not start", "edge", info.Name, "error", info.State.Error)
		failures = append(failures, past(e.docker.ContainerStart(ctx, c.ID, container.StartOptions{})))
	}
	return errors.Join(failures...)
}

func (e *edges) disconnect(ctx context.Context, name, id string) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return past(e.docker.NetworkDisconnect(ctx, name, id, false))
}

// connectTimeout bounds what Docker and the managers of the swarm take to connect
// a container to a network, a part of a second if they have nothing else to do, and
// every other question about edges.
const connectTimeout = 30 * time.Second

// connect makes an edge a member of a network. What it is called there depends on
// its command: services look for the proxy.
func (e *edges) connect(ctx context.Context, name, id string) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	info, err := e.docker.ContainerInspect(ctx, id)
	if err != nil {
		return past(err)
	}
	var endpoint network.EndpointSettings
	if isProxy(info.Args) {
		endpoint.Aliases = []string{plan.EdgeName}
	}
	began := time.Now()
	if err := past(e.docker.NetworkConnect(ctx, name, id, &endpoint)); err != nil {
		return fmt.Errorf("connect an edge to network %s: %w", name, err)
	}
	e.log.Debug("an edge joined a network", "network", name, "edge", info.Name, "took", time.Since(began))
	return nil
}

// isProxy says whether a container with that command is what services look for: the
// gateways are edges, too.
func isProxy(command []string) bool { return slices.Contains(command, "proxy") }

// past leaves out the errors of what was so already, or is no more.
func past(err error) error {
	if errdefs.IsNotFound(err) || errdefs.IsConflict(err) || errdefs.IsAlreadyExists(err) || errdefs.IsPermissionDenied(err) {
		return nil
	}
	return err
}

// again is the pause before Docker's events are asked for again.
const again = 500 * time.Millisecond

// watch has edges join the networks, those that start as well, until ctx ends.
func (e *edges) watch(ctx context.Context) error {
	for {
		err := e.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		e.log.Debug("edges are not watched", "error", err)
		if pause.For(ctx, again) != nil {
			return nil
		}
	}
}

// hear answers Docker's events. The client takes its version of the API from
// what Docker answers first, and asking for events does not wait for that.
func hear(ctx context.Context, docker *client.Client, f filters.Args) (<-chan events.Message, <-chan error, error) {
	asking, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if _, err := docker.ServerVersion(asking); err != nil {
		return nil, nil, err
	}
	heard, lost := dockerhost.Hear(ctx, docker, f)
	return heard, lost, nil
}

// session watches until Docker is away.
func (e *edges) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := e.own()
	f.Add("type", string(events.ContainerEventType))
	f.Add("event", string(events.ActionStart))
	f.Add("event", string(events.ActionDie))
	changed, lost, err := hear(ctx, e.docker, f)
	if err != nil {
		return err
	}
	for {
		e.arrange(ctx)
		select {
		case <-ctx.Done():
			return nil
		case err := <-lost:
			return err
		case <-changed:
		case <-e.told:
		}
	}
}
