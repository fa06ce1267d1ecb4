package host

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"
	"golang.org/x/sync/errgroup"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/dockerhost"
	"github.com/micro/platform/internal/pause"
	"github.com/micro/platform/scheduler/plan"
)

// names tells services in gVisor where the edges are. They do not reach Docker's
// own name server, which listens on the loopback of their network namespace, while
// gVisor has one of its own. It is asked for them, and what it says stands in
// their /etc/hosts, which Docker keeps in a file for each container.
type names struct {
	docker  *client.Client
	cluster string
	files   func() (string, error) // where Docker's files are
	log     *slog.Logger

	mu    sync.Mutex
	known map[string][]netip.Addr // by network, as answered last
	keys  map[string]string       // the files of containers' network namespaces, by container
}

func newNames(docker *client.Client, cluster string, files func() (string, error), log *slog.Logger) *names {
	return &names{docker: docker, cluster: cluster, files: files, log: log, known: map[string][]netip.Addr{}, keys: map[string]string{}}
}

// namesEvery is how often it is asked: an edge of another host comes and goes
// without an event here.
const namesEvery = 2 * time.Second

// watch keeps the names until ctx ends.
func (n *names) watch(ctx context.Context) {
	for {
		err := n.session(ctx)
		if ctx.Err() != nil {
			return
		}
		n.log.Debug("names of edges are not kept", "error", err)
		if pause.For(ctx, again) != nil {
			return
		}
	}
}

// session keeps the names until Docker is away, or has other settings.
func (n *names) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := filters.NewArgs()
	for _, kind := range []events.Type{events.NetworkEventType, events.ContainerEventType, events.DaemonEventType} {
		f.Add("type", string(kind))
	}
	for _, what := range []events.Action{events.ActionConnect, events.ActionDisconnect, events.ActionStart, events.ActionReload} {
		f.Add("event", string(what))
	}
	changed, lost, err := hear(ctx, n.docker, f)
	if err != nil {
		return err
	}
	asking, stop := context.WithTimeout(ctx, keepTimeout)
	defer stop()
	info, err := n.docker.Info(asking)
	if err != nil {
		return err
	}
	var tick <-chan time.Time
	if dockerhost.RuntimesOf(info).DefaultIsGVisor() { // else services have Docker's name server
		t := time.NewTicker(namesEvery)
		defer t.Stop()
		tick = t.C
	}
	for {
		network := ""
		select {
		case <-ctx.Done():
			return nil
		case err := <-lost:
			return err
		case e := <-changed:
			if e.Type == events.DaemonEventType {
				return nil
			}
			if network = n.concerns(e); network == "" || tick == nil {
				continue
			}
		case <-tick:
		}
		if err := n.keep(ctx, info.DockerRootDir, network); err != nil && ctx.Err() == nil {
			n.log.Warn("a service in gVisor may not find the edges", "error", err)
		}
	}
}

// concerns answers the network of a namespace that an event is about, "" if it is
// about none. Docker connects a container some time before its program starts, when
// there is its /etc/hosts already.
func (n *names) concerns(e events.Message) string {
	if e.Type == events.NetworkEventType {
		if name := e.Actor.Attributes["name"]; strings.HasPrefix(name, plan.NetworkPrefix(n.cluster)) {
			return name
		}
		return ""
	}
	if of := e.Actor.Attributes; of[plan.LabelCluster] == n.cluster && of[plan.LabelPart] == plan.Part {
		return plan.Network(n.cluster, of[plan.LabelNamespace])
	}
	return ""
}

// member is a container in the network of a namespace.
type member struct {
	id      string
	edge    bool
	proxy   bool // the edge that services look for
	running bool
	ip      netip.Addr
}

// keepTimeout bounds one round, and the question before the first.
const keepTimeout = 10 * time.Second

// keep writes where the edges are to the services of a network, or of all if that
// is "".
func (n *names) keep(ctx context.Context, root, network string) error {
	ctx, cancel := context.WithTimeout(ctx, keepTimeout)
	defer cancel()
	files, err := n.files()
	if err != nil {
		return err
	}
	networks, err := n.members(ctx)
	if err != nil {
		return err
	}
	var work errgroup.Group
	work.SetLimit(16)
	for name, members := range networks {
		if network != "" && name != network {
			continue
		}
		work.Go(func() error {
			edges := n.edges(ctx, files, name, members)
			var failures []error
			for _, m := range members {
				if !m.edge {
					failures = append(failures, writeEdges(filepath.Join(files, root, "containers", m.id, "hosts"), edges))
				}
			}
			return errors.Join(failures...)
		})
	}
	return work.Wait()
}

// members answers who is in the networks of namespaces on this host, of those that
// services are in. What was known of others is forgotten.
func (n *names) members(ctx context.Context) (map[string][]member, error) {
	found, err := n.docker.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", plan.LabelCluster+"="+n.cluster))})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	out, served, there := map[string][]member{}, map[string]bool{}, map[string]bool{}
	for _, c := range found {
		part := c.Labels[plan.LabelPart]
		if part != plan.Part && part != plan.PartEdge || c.State == container.StateExited || c.NetworkSettings == nil {
			continue
		}
		there[c.ID] = true
		for name, at := range c.NetworkSettings.Networks {
			if strings.HasPrefix(name, plan.NetworkPrefix(n.cluster)) {
				ip, _ := netip.ParseAddr(at.IPAddress)
				edge := part == plan.PartEdge
				out[name] = append(out[name], member{c.ID, edge, edge && isProxy(strings.Fields(c.Command)), c.State == container.StateRunning, ip})
				served[name] = served[name] || part == plan.Part
			}
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for id := range n.keys {
		if !there[id] {
			delete(n.keys, id)
		}
	}
	for name := range out {
		if !served[name] {
			delete(out, name)
		}
	}
	for name := range n.known {
		if out[name] == nil {
			delete(n.known, name)
		}
	}
	return out, nil
}

// edges answers where the edges are in a network, those on this host first: they
// are known at once to be gone. Where nothing is known yet, and no service runs that
// knows of others, those on this host do until the next look: a service that starts
// does not wait for an answer.
func (n *names) edges(ctx context.Context, files, network string, members []member) []netip.Addr {
	order := map[netip.Addr]int{}
	var here []netip.Addr
	served := false
	for _, m := range members {
		if m.proxy {
			order[m.ip] = -1
			if m.running && m.ip.IsValid() {
				here = append(here, m.ip)
			}
		}
		served = served || m.running && !m.edge
	}
	if !served && n.first(network, here) {
		return here
	}
	for _, m := range members {
		if !m.running {
			continue
		}
		found, err := n.ask(ctx, files, m.id)
		if err != nil {
			n.log.Debug("the edges of a network are not known", "network", network, "error", err)
			continue
		}
		slices.SortFunc(found, func(a, b netip.Addr) int { return cmp.Or(order[a]-order[b], a.Compare(b)) })
		n.mu.Lock()
		defer n.mu.Unlock()
		n.known[network] = found
		return found
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range n.known[network] {
		if !slices.Contains(here, a) {
			here = append(here, a)
		}
	}
	return here
}

// first notes the edges on this host as those of a network that nothing is known
// of. It answers whether it did.
func (n *names) first(network string, here []netip.Addr) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known[network] != nil || here == nil {
		return false
	}
	n.known[network] = here
	return true
}

// dockerNames is where Docker's name server listens in each container's network.
const dockerNames = "127.0.0.11:53"

// namesTimeout bounds a question: a name that is not there is asked of others.
const namesTimeout = 500 * time.Millisecond

// ask asks Docker's name server as a container does.
func (n *names) ask(ctx context.Context, files, id string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, namesTimeout)
	defer cancel()
	key, err := n.key(ctx, id)
	if err != nil {
		return nil, err
	}
	resolver := net.Resolver{PreferGo: true, Dial: func(dialing context.Context, network, _ string) (conn net.Conn, err error) {
		err = dockerhost.Inside(filepath.Join(files, key), func() (err error) {
			var dialer net.Dialer
			conn, err = dialer.DialContext(dialing, network, dockerNames)
			return err
		})
		if err == nil {
			context.AfterFunc(ctx, func() { conn.Close() }) // the resolver goes on without the context
		}
		return conn, err
	}}
	return resolver.LookupNetIP(ctx, "ip4", plan.EdgeName+".")
}

// key answers the file of a container's network namespace.
func (n *names) key(ctx context.Context, id string) (string, error) {
	n.mu.Lock()
	key := n.keys[id]
	n.mu.Unlock()
	if key != "" {
		return key, nil
	}
	info, err := n.docker.ContainerInspect(ctx, id)
	if err != nil || info.NetworkSettings == nil || info.NetworkSettings.SandboxKey == "" {
		return "", fmt.Errorf("the network of container %s: %w", id, errors.Join(err, fs.ErrNotExist))
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.keys[id] = info.NetworkSettings.SandboxKey
	return info.NetworkSettings.SandboxKey, nil
}

// writeEdges writes where the edges are into a container's /etc/hosts. It is the
// file that the container has mounted, so it stays the same one.
func writeEdges(name string, edges []netip.Addr) error {
	was, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it is gone, or not connected yet
	}
	if err != nil {
		return err
	}
	is := withEdges(string(was), edges)
	if is == string(was) {
		return nil
	}
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(is), 0)
	return errors.Join(err, f.Truncate(int64(len(is))), f.Close())
}

// withEdges is an /etc/hosts with edges, and without those that it had.
func withEdges(hosts string, edges []netip.Addr) string {
	var out strings.Builder
	for line := range strings.Lines(hosts) {
		if f := strings.Fields(line); len(f) != 2 || f[1] != plan.EdgeName {
			out.WriteString(line)
		}
	}
	if s := out.String(); s != "" && !strings.HasSuffix(s, "\n") {
		out.WriteByte('\n')
	}
	for _, a := range edges {
		fmt.Fprintf(&out, "%s\t%s\n", a, plan.EdgeName)
	}
	return out.String()
}
