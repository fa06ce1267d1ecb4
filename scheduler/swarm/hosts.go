package swarm

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/docker/docker/api/types/swarm"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	hostpb "github.com/micro/platform/proto/host"
	"github.com/micro/platform/scheduler/containers"
	"github.com/micro/platform/scheduler/plan"
)

// askTimeout bounds a question to another host: who is away holds the others up
// for no longer.
const askTimeout = time.Second

// looker looks at the containers of services on one host.
type looker interface {
	Probe(ctx context.Context) ([]*hostpb.Container, error)
	Busy(ctx context.Context, id plan.ID, elsewhere []netip.Addr) (running int, connected bool, err error)
	End(ctx context.Context, container string) (*hostpb.EndResponse, error)
	Log(ctx context.Context, id plan.ID, count int) (lines []containers.Line, found int, err error)
}

var _ looker = (*containers.Docker)(nil)

// host is one host of the swarm, as it was seen last.
type host struct {
	looker
	node  string // its ID in the swarm; "" where it is the only one
	agent *agent // nil where it is the only one

	last []*hostpb.Container
	away error // why it did not answer the last time
}

// hosts are those that containers of services are on.
type hosts struct {
	dial func(address string) (*grpc.ClientConn, error)

	mu  sync.Mutex
	all map[string]*host // by node
}

// newHosts makes the hosts of a swarm: this one, or those that are reached by
// dial.
func newHosts(this *containers.Docker, dial func(address string) (*grpc.ClientConn, error)) *hosts {
	h := &hosts{dial: dial, all: map[string]*host{}}
	if dial == nil {
		h.all[""] = &host{looker: this}
	}
	return h
}

// know learns which nodes there are. Those that are down are forgotten: what
// runs there does not count any more.
func (h *hosts) know(nodes []swarm.Node) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	up := map[string]bool{}
	for _, n := range nodes {
		if n.Status.State == swarm.NodeStateDown {
			continue
		}
		up[n.ID] = true
		address := addressOf(n)
		is := h.all[n.ID]
		if is != nil && is.agent.address == address {
			continue
		}
		conn, err := h.dial(address)
		if err != nil {
			return fmt.Errorf("connect to the host at %s: %w", address, err)
		}
		if is != nil {
			is.agent.conn.Close()
		}
		a := &agent{address: address, conn: conn, client: hostpb.NewHostClient(conn)}
		h.all[n.ID] = &host{looker: a, agent: a, node: n.ID}
	}
	for id, is := range h.all {
		if !up[id] {
			is.agent.conn.Close()
			delete(h.all, id)
		}
	}
	return nil
}

// addressOf is the address of a node, without a port. The leader has none of its
// own where it was not told one.
func addressOf(n swarm.Node) string {
	if ip := net.ParseIP(n.Status.Addr); ip != nil && !ip.IsUnspecified() || n.ManagerStatus == nil {
		return n.Status.Addr
	}
	address, _, _ := net.SplitHostPort(n.ManagerStatus.Addr)
	return cmp.Or(address, n.Status.Addr)
}

// each asks all hosts at once, and answers when the last has answered.
func (h *hosts) each(ctx context.Context, ask func(ctx context.Context, h *host)) {
	var work sync.WaitGroup
	for _, x := range h.list() {
		work.Go(func() { ask(ctx, x) })
	}
	work.Wait()
}

func (h *hosts) list() []*host {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []*host
	for _, x := range h.all {
		out = append(out, x)
	}
	return out
}

// of answers the host of a task; nil when it is down, or did not answer the last
// time.
func (h *hosts) of(t swarm.Task) *host {
	h.mu.Lock()
	defer h.mu.Unlock()
	node := t.NodeID
	if h.dial == nil {
		node = ""
	}
	if x := h.all[node]; x != nil && x.away == nil {
		return x
	}
	return nil
}

// missing says whether the host of a node did not answer the last time.
func (h *hosts) missing(node string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	x := h.all[node]
	return x != nil && x.away != nil
}

// probe answers the containers of all hosts. Of one that is away, those that it
// had last. The only host being away is an error.
func (h *hosts) probe(ctx context.Context) ([]*hostpb.Container, error) {
	h.each(ctx, func(ctx context.Context, x *host) {
		found, err := x.Probe(ctx)
		h.mu.Lock()
		defer h.mu.Unlock()
		if x.away = err; err == nil {
			x.last = found
		}
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []*hostpb.Container
	for _, x := range h.all {
		if x.away != nil && h.dial == nil {
			return nil, x.away
		}
		out = append(out, x.last...)
	}
	return out, nil
}

// busy answers how many containers of a deployment run, and whether somebody is
// connected to one, or may be: on a host that does not answer.
func (h *hosts) busy(ctx context.Context, id plan.ID) (running int, connected bool, err error) {
	var mu sync.Mutex
	at := h.addresses(id)
	h.each(ctx, func(ctx context.Context, x *host) {
		n, c, e := x.Busy(ctx, id, at)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case e != nil && h.dial == nil:
			err = e
		case e != nil:
			c = h.had(x, id)
		}
		running, connected = running+n, connected || c
	})
	return running, connected, err
}

// maxAddresses bounds how many addresses hosts are asked about: instances are fewer.
const maxAddresses = 1000

// addresses answers where the containers of a deployment are, as they were seen
// last.
func (h *hosts) addresses(id plan.ID) []netip.Addr {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []netip.Addr
	for _, x := range h.all {
		for _, c := range x.last {
			ip, err := netip.ParseAddr(c.GetIp())
			if err == nil && c.GetRunning() && len(out) < maxAddresses && deploymentOf(c) == id {
				out = append(out, ip)
			}
		}
	}
	return out
}

// deploymentOf is the deployment that a container is of.
func deploymentOf(c *hostpb.Container) plan.ID {
	return plan.ID{Namespace: c.GetNamespace(), Service: c.GetService(), Version: c.GetVersion(), Revision: c.GetRevision()}
}

// survey learns which hosts there are.
func (d *Driver) survey(ctx context.Context) error {
	if d.opts.Dial == nil {
		return nil
	}
	nodes, err := d.engine.NodeList(ctx, swarm.NodeListOptions{})
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	return d.hosts.know(nodes)
}

// log answers the last lines of a deployment on all hosts that answer, and how
// many containers they are of.
func (h *hosts) log(ctx context.Context, id plan.ID, count int) (lines []containers.Line, found int, err error) {
	var mu sync.Mutex
	h.each(ctx, func(ctx context.Context, x *host) {
		more, n, e := x.Log(ctx, id, count)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case e != nil && h.dial == nil:
			err = e
		case e != nil:
			err = errors.New(codes.Unavailable, "a host that may have the log does not answer, try again").Because(e)
		}
		lines, found = containers.Newest(append(lines, more...), count), found+n
	})
	if found > 0 { // better a part of it
		err = nil
	}
	return lines, found, err
}

// had says whether a container of a deployment ran on a host that was looked at.
func (h *hosts) had(x *host, id plan.ID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(x.last, func(c *hostpb.Container) bool {
		return c.GetRunning() && deploymentOf(c) == id
	})
}

// join has the edges of all hosts join networks, and leave others.
func (h *hosts) join(ctx context.Context, networks, leave []string) error {
	var mu sync.Mutex
	var failures []error
	h.each(ctx, func(ctx context.Context, x *host) {
		most := joinTimeout
		if h.missing(x.node) {
			most = askTimeout
		}
		ctx, cancel := ask(ctx, most)
		defer cancel()
		if _, err := x.agent.client.Join(ctx, &hostpb.JoinRequest{Networks: networks, Leave: leave}); err != nil {
			mu.Lock()
			defer mu.Unlock()
			failures = append(failures, fmt.Errorf("host at %s: %w", x.agent.address, err))
		}
	})
	return errors.Join(failures...)
}

// presume answers what the swarm says of the container of a task that has run for a
// while and whose host is away: it is taken to run on. nil is no such container.
func (h *hosts) presume(t swarm.Task) *hostpb.Container {
	is := t.Status.ContainerStatus
	if h.dial == nil || !h.missing(t.NodeID) || is == nil || t.Spec.ContainerSpec == nil || t.Status.State != swarm.TaskStateRunning {
		return nil
	}
	id, _ := plan.FromLabels(t.Spec.ContainerSpec.Labels)
	c := &hostpb.Container{
		Id: is.ContainerID, Task: t.ID, Namespace: id.Namespace, Service: id.Service, Version: id.Version, Revision: id.Revision,
		Running: true, Started: h.moment(t, t.Status.Timestamp).UnixMicro(), Port: plan.Port, Health: hostpb.Health_READY,
	}
	if r := t.Spec.Resources; r != nil && r.Limits != nil {
		c.Millicores, c.Memory = r.Limits.NanoCPUs/1e6, r.Limits.MemoryBytes
	}
	for _, n := range t.NetworksAttachments {
		for _, a := range n.Addresses {
			if p, err := netip.ParsePrefix(a); err == nil {
				c.Ip = p.Addr().String()
			}
		}
	}
	if c.GetIp() == "" {
		return nil
	}
	return c
}

// info asks all hosts what they are, by node.
func (h *hosts) info(ctx context.Context) map[string]*hostpb.InfoResponse {
	var mu sync.Mutex
	out := map[string]*hostpb.InfoResponse{}
	h.each(ctx, func(ctx context.Context, x *host) {
		ctx, cancel := ask(ctx, askTimeout)
		defer cancel()
		if is, err := x.agent.client.Info(ctx, &hostpb.InfoRequest{}); err == nil {
			mu.Lock()
			defer mu.Unlock()
			out[x.node] = is
		}
	})
	return out
}

// close closes the connections.
func (h *hosts) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, x := range h.all {
		if x.agent != nil {
			x.agent.conn.Close()
			delete(h.all, id)
		}
	}
}

// agent is the component host of another host.
type agent struct {
	address string
	conn    *grpc.ClientConn
	client  hostpb.HostClient
	behind  atomic.Int64 // how many microseconds its clock is behind the one here
}

// clocksAgree is up to how many microseconds two clocks count as one: what a call
// takes cannot be told from it.
const clocksAgree = 500_000

// translate gives the times of a host's containers by the clock here. The
// difference is taken anew only where it has changed: the time of one moment must
// not seem to.
func (a *agent) translate(containers []*hostpb.Container, there, here int64) {
	if there == 0 { // it does not say
		return
	}
	behind := here - there
	if was := a.behind.Load(); max(behind-was, was-behind) < clocksAgree {
		behind = was
	}
	a.behind.Store(behind)
	for _, c := range containers {
		for _, t := range []*int64{&c.Started, &c.Ended} {
			if *t != 0 {
				*t += behind
			}
		}
	}
}

// moment answers when something was that the host of a task has noted, by the
// clock here.
func (h *hosts) moment(t swarm.Task, at time.Time) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	if x := h.all[t.NodeID]; x != nil && x.agent != nil {
		at = at.Add(time.Duration(x.agent.behind.Load()) * time.Microsecond)
	}
	return at
}

// ask bounds a question that is the scheduler's own.
func ask(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(identity.AsComponent(ctx), timeout)
}

// Probe implements looker.
func (a *agent) Probe(ctx context.Context) ([]*hostpb.Container, error) {
	ctx, cancel := ask(ctx, askTimeout)
	defer cancel()
	rsp, err := a.client.Probe(ctx, &hostpb.ProbeRequest{})
	a.translate(rsp.GetContainers(), rsp.GetNow(), time.Now().UnixMicro())
	return rsp.GetContainers(), err
}

// Busy implements looker.
func (a *agent) Busy(ctx context.Context, id plan.ID, elsewhere []netip.Addr) (running int, connected bool, err error) {
	ctx, cancel := ask(ctx, askTimeout)
	defer cancel()
	req := &hostpb.BusyRequest{Namespace: id.Namespace, Service: id.Service, Version: id.Version, Revision: id.Revision}
	for _, ip := range elsewhere {
		req.Addresses = append(req.Addresses, ip.String())
	}
	rsp, err := a.client.Busy(ctx, req)
	return int(rsp.GetRunning()), rsp.GetConnected(), err
}

// End implements looker.
func (a *agent) End(ctx context.Context, container string) (*hostpb.EndResponse, error) {
	ctx, cancel := ask(ctx, askTimeout)
	defer cancel()
	return a.client.End(ctx, &hostpb.EndRequest{Container: container})
}

// Log implements looker. It may take longer than other questions: a log is up to
// some megabytes.
func (a *agent) Log(ctx context.Context, id plan.ID, count int) (lines []containers.Line, found int, err error) {
	ctx, cancel := ask(ctx, callTimeout)
	defer cancel()
	s, err := a.client.Log(ctx, &hostpb.LogRequest{Namespace: id.Namespace, Service: id.Service, Version: id.Version, Revision: id.Revision, Count: int64(count)})
	if err != nil {
		return nil, 0, err
	}
	for {
		rsp, err := s.Recv()
		if err == io.EOF {
			return lines, found, nil
		}
		if err != nil {
			return lines, found, err
		}
		found += int(rsp.GetContainers())
		for _, l := range rsp.GetLines() {
			lines = append(lines, containers.Line{Time: time.Unix(0, l.GetAt()), Container: l.GetContainer(), Text: string(l.GetText())})
		}
	}
}
