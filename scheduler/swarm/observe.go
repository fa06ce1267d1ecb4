package swarm

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"

	"github.com/micro/platform/internal/dockerhost"
	"github.com/micro/platform/internal/pause"
	hostpb "github.com/micro/platform/proto/host"
	schedulerpb "github.com/micro/platform/proto/scheduler"
	"github.com/micro/platform/scheduler/plan"
)

// How often Docker is looked at: soon while something is on its way, less while a
// container that is too late still runs, seldom otherwise. Docker's events and our
// own changes make it at once, though not more often than lookLeast. The events
// are those of one host: several are looked at often.
const (
	lookSoon   = 200 * time.Millisecond
	lookOften  = time.Second
	lookLate   = 3 * time.Second
	lookSeldom = 30 * time.Second
	lookLeast  = 50 * time.Millisecond
)

// When Docker is away it is tried again after retryFirst, and then less often.
const (
	retryFirst = 500 * time.Millisecond
	retryLast  = 3 * time.Second
)

// Run looks at Docker until ctx ends. A Docker that is away is waited for.
func (d *Driver) Run(ctx context.Context) error {
	if d.local != nil {
		defer d.local.Check(ctx, d.look).Wait()
	}
	for wait := retryFirst; ctx.Err() == nil; wait = min(2*wait, retryLast) {
		began := time.Now()
		err := d.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > retryLast {
			wait = retryFirst
		}
		err = d.explain(err)
		d.hub.lose(err)
		d.log.Warn("docker cannot be used, deployments are not watched", "error", err, "retry_in", wait)
		pause.For(ctx, wait) //nolint:errcheck // the loop ends
	}
	return nil
}

// session looks at Docker until it is away.
func (d *Driver) session(ctx context.Context) error {
	var hearing sync.WaitGroup
	defer hearing.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d.ages.pause()
	if err := d.join(ctx); err != nil {
		return err
	}
	changed, lost := dockerhost.Hear(ctx, d.engine, filters.NewArgs(
		filters.Arg("type", string(events.ContainerEventType)), filters.Arg("label", plan.LabelCluster+"="+d.opts.Cluster)))
	hearing.Go(func() {
		for {
			select {
			case <-changed: // many at once are one reason to look
				d.look()
			case <-ctx.Done():
				return
			}
		}
	})
	for {
		next, err := d.observe(ctx)
		if err != nil {
			return err
		}
		if err := pause.For(ctx, lookLeast); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-lost:
			return fmt.Errorf("watch events: %w", err)
		case <-d.wake:
		case <-time.After(next):
		}
	}
}

// join makes Docker a swarm of one if it is in none, and waits until it can be
// asked for services.
func (d *Driver) join(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for {
		info, err := d.engine.Info(ctx)
		if err != nil {
			return err
		}
		switch {
		case info.Swarm.LocalNodeState == swarm.LocalNodeStateActive && info.Swarm.ControlAvailable:
			d.log.Info("watching Docker", "host", d.engine.DaemonHost(), "version", info.ServerVersion)
			return nil
		case info.Swarm.LocalNodeState == swarm.LocalNodeStateActive:
			return fmt.Errorf("this Docker is a worker of its swarm: set DOCKER_HOST to a manager")
		case info.Swarm.LocalNodeState == swarm.LocalNodeStateInactive && d.several():
			return fmt.Errorf("this Docker is in no swarm: networks over several hosts need one that their operator has made")
		case info.Swarm.LocalNodeState == swarm.LocalNodeStateInactive:
			if err = d.begin(ctx); err == nil {
				continue
			}
		default:
			err = fmt.Errorf("this Docker's swarm is %s", info.Swarm.LocalNodeState)
		}
		// Another platform on this host may be turning it on at the same time.
		if pause.For(ctx, 100*time.Millisecond) != nil {
			return err
		}
	}
}

// begin turns swarm mode on. On loopback nobody else can join: a swarm of
// several hosts is made by its operator.
func (d *Driver) begin(ctx context.Context) error {
	if _, err := d.engine.SwarmInit(ctx, swarm.InitRequest{ListenAddr: "127.0.0.1:2377", AdvertiseAddr: "127.0.0.1"}); err != nil {
		return fmt.Errorf("turn on swarm mode: %w", err)
	}
	d.log.Info("turned on Docker's swarm mode: this host is a swarm of one")
	return nil
}

// world is what Docker has of this cluster, read at one moment.
type world struct {
	services   []swarm.Service
	tasks      map[string][]swarm.Task      // by service, oldest first
	containers map[string]*hostpb.Container // by task
}

// read answers services and their tasks.
func (d *Driver) read(ctx context.Context) (world, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	w := world{tasks: map[string][]swarm.Task{}, containers: map[string]*hostpb.Container{}}
	var err error
	if w.services, err = d.engine.ServiceList(ctx, swarm.ServiceListOptions{Filters: d.having(nil)}); err != nil {
		return w, fmt.Errorf("list services: %w", err)
	}
	tasks, err := d.engine.TaskList(ctx, swarm.TaskListOptions{Filters: d.having(nil)})
	if err != nil {
		return w, fmt.Errorf("list tasks: %w", err)
	}
	slices.SortFunc(tasks, func(a, b swarm.Task) int { return a.CreatedAt.Compare(b.CreatedAt) })
	for _, t := range tasks {
		w.tasks[t.ServiceID] = append(w.tasks[t.ServiceID], t)
	}
	return w, nil
}

// find adds the containers to what was read.
func (d *Driver) find(ctx context.Context, w world) error {
	if err := d.survey(ctx); err != nil {
		return err
	}
	found, err := d.hosts.probe(ctx)
	if err != nil {
		return err
	}
	for _, c := range found {
		w.containers[c.GetTask()] = c
	}
	for _, tasks := range w.tasks {
		for _, t := range tasks {
			if t.Status.State != swarm.TaskStateRunning {
				continue
			}
			ran := d.ages.of("running " + t.ID)
			if w.containers[t.ID] != nil || ran < d.opts.Start {
				continue
			}
			if c := d.hosts.presume(t); c != nil {
				w.containers[t.ID] = c
			}
		}
	}
	return nil
}

// observe looks once. It answers when to look again if nothing is heard.
func (d *Driver) observe(ctx context.Context) (next time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	d.ages.tick(d.now())
	w, err := d.read(ctx)
	if err != nil {
		return 0, err
	}
	if err := d.find(ctx, w); err != nil {
		return 0, err
	}
	d.forget(w)
	d.span(w)
	states, unproven := map[plan.ID]*schedulerpb.Status{}, false
	if next = lookSeldom; d.several() {
		next = lookOften
	}
	for _, s := range w.services {
		id, ok := plan.FromLabels(s.Spec.Labels)
		if !ok {
			continue
		}
		v := d.judge(ctx, s, w)
		switch {
		case !v.settled():
			next = min(next, lookSoon)
		case v.silent: // it may answer yet
			next = min(next, lookLate)
		}
		states[id] = v.status(id)
		unproven = unproven || states[id].GetState() == schedulerpb.Status_RUNNING && s.Spec.Labels[labelProven] == ""
	}
	d.hub.set(states)
	if unproven {
		nudge(d.proven)
	}
	return next, nil
}

// forget notes the containers that have ended, and drops what is remembered of
// tasks that are no more.
func (d *Driver) forget(w world) {
	is := map[string]*hostpb.Container{}
	for _, c := range w.containers {
		is[c.GetId()] = c
		if c.GetRunning() {
			d.running[c.GetId()] = c
		}
	}
	for id, was := range d.running {
		if !is[id].GetRunning() {
			d.noteEnded(was, is[id])
			delete(d.running, id)
		}
	}
	there := map[string]bool{}
	for _, tasks := range w.tasks {
		for _, t := range tasks {
			there[t.ID] = true
		}
	}
	for id := range d.endings {
		if !there[id] {
			delete(d.endings, id)
		}
	}
}
