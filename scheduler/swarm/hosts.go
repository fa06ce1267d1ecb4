package swarm

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/docker/docker/api/types/swarm"
	"google.golang.org/grpc"

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
	Busy(ctx context.Context, id plan.ID) (running int, connected bool, err error)
	End(ctx context.Context, container string) (*hostpb.EndResponse, error)
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

// of answers the host of a task; nil when it is not known, or away.
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
// connected to one. What a host has that does not answer is as it was, and nobody
// is taken to be connected to it.
func (h *hosts) busy(ctx context.Context, id plan.ID) (running int, connected bool, err error) {
	var mu sync.Mutex
	h.each(ctx, func(ctx context.Context, x *host) {
		n, c, e := x.Busy(ctx, id)
		mu.Lock()
		defer mu.Unlock()
		if e != nil && h.dial == nil {
			err = e
		}
		running, connected = running+n, connected || c
	})
	return running, connected, err
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
	return rsp.GetContainers(), err
}

// Busy implements looker.
func (a *agent) Busy(ctx context.Context, id plan.ID) (running int, connected bool, err error) {
	ctx, cancel := ask(ctx, askTimeout)
	defer cancel()
	rsp, err := a.client.Busy(ctx, &hostpb.BusyRequest{Namespace: id.Namespace, Service: id.Service, Version: id.Version, Revision: id.Revision})
	return int(rsp.GetRunning()), rsp.GetConnected(), err
}

// End implements looker.
func (a *agent) End(ctx context.Context, container string) (*hostpb.EndResponse, error) {
	ctx, cancel := ask(ctx, askTimeout)
	defer cancel()
	return a.client.End(ctx, &hostpb.EndRequest{Container: container})
}
