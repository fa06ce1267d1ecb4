package swarm

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/pause"
	schedulerpb "github.com/micro/platform/proto/scheduler"
	"github.com/micro/platform/scheduler/plan"
)

// joinTimeout bounds the wait for the edges of a host to join networks.
const joinTimeout = 5 * time.Second

// several says whether there are several hosts.
func (d *Driver) several() bool { return d.opts.Dial != nil }

// alone refuses a swarm of several hosts: a bridge ends at its host, and what runs
// on another could not be reached.
func (d *Driver) alone(ctx context.Context) error {
	nodes, err := d.engine.NodeList(ctx, swarm.NodeListOptions{})
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	nodes = slices.DeleteFunc(nodes, func(n swarm.Node) bool { return n.Status.State == swarm.NodeStateDown })
	if len(nodes) > 1 {
		return errors.New(codes.FailedPrecondition, "the swarm has %d hosts, and the networks of namespaces are bridges, which end at their host: set MICRO_SCHEDULER_NETWORKS=overlay", len(nodes))
	}
	return nil
}

// ensureOverlay makes a network of the namespace's own over all hosts. It is
// internal: no route leads from it to anything but its own containers, and the
// edges that have joined it.
func (d *Driver) ensureOverlay(ctx context.Context, namespace string) error {
	name := plan.Network(d.opts.Cluster, namespace)
	all, err := d.engine.NetworkList(ctx, network.ListOptions{})
	if err != nil {
		return fmt.Errorf("list networks: %w", err)
	}
	if !slices.ContainsFunc(all, func(n network.Summary) bool { return n.Name == name }) {
		if err := d.createOverlay(ctx, name, namespace, all); err != nil {
			return err
		}
	}
	if err := d.joinEdges(ctx); err != nil {
		d.log.Warn("not every edge is in a namespace's network yet", "namespace", namespace, "error", err)
	}
	return nil
}

func (d *Driver) createOverlay(ctx context.Context, name, namespace string, all []network.Summary) error {
	subnet, err := freeSubnet(d.opts.Subnets, name, taken(all))
	if err != nil {
		return err
	}
	made, err := d.engine.NetworkCreate(ctx, name, network.CreateOptions{
		Driver: "overlay", Scope: "swarm", Internal: true, Attachable: true, Labels: d.labels(namespace),
		IPAM: &network.IPAM{Config: []network.IPAMConfig{{Subnet: subnet.String()}}},
	})
	if err != nil {
		return fmt.Errorf("create network %s: %w", name, err)
	}
	// Another scheduler may have taken the same one, for another namespace.
	if all, err = d.engine.NetworkList(ctx, network.ListOptions{}); err != nil {
		return fmt.Errorf("list networks: %w", err)
	}
	others := slices.DeleteFunc(all, func(n network.Summary) bool { return n.ID == made.ID })
	if !overlaps(subnet, subnets(others)) {
		return nil
	}
	if err := d.engine.NetworkRemove(ctx, made.ID); err != nil && !isGone(err) {
		return fmt.Errorf("remove network %s: %w", name, err)
	}
	return errors.New(codes.Aborted, "the subnet %s was taken at the same time, try again", subnet)
}

// subnets lists those of networks.
func subnets(networks []network.Summary) []netip.Prefix {
	var out []netip.Prefix
	for _, n := range networks {
		for _, c := range n.IPAM.Config {
			if p, err := netip.ParsePrefix(c.Subnet); err == nil {
				out = append(out, p)
			}
		}
	}
	return out
}

// removeOverlay removes a network that only edges are in.
func (d *Driver) removeOverlay(ctx context.Context, name string) error {
	if err := d.joinEdges(ctx, name); err != nil {
		d.log.Debug("not every edge has left a network", "network", name, "error", err)
	}
	if err := d.engine.NetworkRemove(ctx, name); err != nil && !isGone(err) {
		// The swarm learns a moment later that the edges have left: tend tries again.
		d.log.Debug("network not removed yet", "network", name, "error", err)
	}
	return nil
}

// joinEdges has the edges of all hosts join the networks of namespaces, without
// those that they are to leave.
func (d *Driver) joinEdges(ctx context.Context, leave ...string) error {
	found, err := d.engine.NetworkList(ctx, network.ListOptions{Filters: d.having(nil)})
	if err != nil {
		return fmt.Errorf("list networks: %w", err)
	}
	var names []string
	for _, n := range found {
		if n.Driver == "overlay" && !slices.Contains(leave, n.Name) {
			names = append(names, n.Name)
		}
	}
	if err := d.survey(ctx); err != nil {
		return err
	}
	return d.hosts.join(ctx, names, leave)
}

// joinEvery is how often hosts are told which networks edges are in, for those
// that have started since.
const joinEvery = 2 * time.Second

// joinLoop keeps the edges in the networks of namespaces, until ctx ends.
func (d *Driver) joinLoop(ctx context.Context) {
	for pause.For(ctx, joinEvery) == nil {
		if err := d.joinEdges(ctx); err != nil {
			d.log.Debug("not every edge is in every network", "error", err)
		}
	}
}

// Hosts answers all hosts of the swarm, and what their own component host says.
func (d *Driver) Hosts(ctx context.Context) ([]*schedulerpb.Host, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	nodes, err := d.engine.NodeList(ctx, swarm.NodeListOptions{})
	if err != nil {
		return nil, d.explain(fmt.Errorf("list nodes: %w", err))
	}
	if err := d.hosts.know(nodes); err != nil {
		return nil, err
	}
	told := d.hosts.info(ctx)
	var out []*schedulerpb.Host
	for _, n := range nodes {
		h := &schedulerpb.Host{
			Name: n.Description.Hostname, Docker: n.Description.Engine.EngineVersion, Address: addressOf(n),
			State: string(n.Status.State), Availability: string(n.Spec.Availability), Unrouted: true,
		}
		switch is := told[n.ID]; {
		case is != nil:
			h.Runtime, h.Gvisor, h.GvisorRuntimes = is.GetRuntime(), is.GetGvisor(), is.GetGvisorRuntimes()
		case n.Status.State == swarm.NodeStateDown:
			h.Problem = "the swarm has lost it"
		default:
			h.Problem = "its component host does not answer: services there are taken to be as Swarm says"
		}
		out = append(out, h)
	}
	return out, nil
}
