package swarm

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"

	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/scheduler/plan"
)

// NetworkBits is the size of a namespace's network: 61 containers, old and new
// ones of a change together.
const NetworkBits = 26

// configSuffix ends the name of the half of a network that Docker calls
// configuration-only: the one thing that gives a swarm's bridge its subnet.
const configSuffix = "-config"

// optionBridge is Docker's option for the name of a network's interface.
const optionBridge = "com.docker.network.bridge.name"

// Bridges answers the namespaces that have networks, by their interfaces.
func (d *Driver) Bridges(ctx context.Context) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	found, err := d.engine.NetworkList(ctx, network.ListOptions{Filters: d.having(nil)})
	if err != nil {
		return nil, d.explain(fmt.Errorf("list networks: %w", err))
	}
	out := map[string]string{}
	for _, n := range found {
		if b := n.Options[optionBridge]; b != "" {
			out[b] = n.Labels[plan.LabelNamespace]
		}
	}
	return out, nil
}

// ensureNetwork makes the network of a namespace.
func (d *Driver) ensureNetwork(ctx context.Context, namespace string) error {
	if d.several() {
		return d.ensureOverlay(ctx, namespace)
	}
	if err := d.alone(ctx); err != nil {
		return err
	}
	return d.ensureBridge(ctx, namespace)
}

// labels are those of a namespace's network.
func (d *Driver) labels(namespace string) map[string]string {
	return map[string]string{plan.LabelCluster: d.opts.Cluster, plan.LabelPart: plan.Part, plan.LabelNamespace: namespace}
}

// ensureBridge makes a bridge of the namespace's own, so that Docker's isolation
// between bridges keeps namespaces apart.
func (d *Driver) ensureBridge(ctx context.Context, namespace string) error {
	name := plan.Network(d.opts.Cluster, namespace)
	all, err := d.engine.NetworkList(ctx, network.ListOptions{})
	if err != nil {
		return fmt.Errorf("list networks: %w", err)
	}
	names := map[string]bool{}
	for _, n := range all {
		names[n.Name] = true
	}
	if !names[name+configSuffix] {
		subnet, err := freeSubnet(d.opts.Subnets, name, taken(all))
		if err != nil {
			return err
		}
		if _, err := d.engine.NetworkCreate(ctx, name+configSuffix, network.CreateOptions{
			ConfigOnly: true, Labels: d.labels(namespace),
			IPAM:    &network.IPAM{Config: []network.IPAMConfig{{Subnet: subnet.String()}}},
			Options: map[string]string{optionBridge: plan.Bridge(d.opts.Cluster, namespace)},
		}); err != nil {
			return fmt.Errorf("create network %s: %w", name+configSuffix, err)
		}
	}
	if names[name] {
		return nil
	}
	// Docker takes no labels here: they come from the configuration.
	if _, err := d.engine.NetworkCreate(ctx, name, network.CreateOptions{
		Driver: "bridge", Scope: "swarm", Attachable: true,
		ConfigFrom: &network.ConfigReference{Network: name + configSuffix},
	}); err != nil {
		return fmt.Errorf("create network %s: %w", name, err)
	}
	if d.guard != nil { // before the first container is on it
		if err := d.guard(ctx); err != nil {
			d.log.Warn("a namespace's network is made without rules of the host's firewall", "error", err)
		}
	}
	return nil
}

// taken lists the subnets that must not be used: Docker's other networks' and
// this machine's own.
func taken(networks []network.Summary) []netip.Prefix {
	out := subnets(networks)
	own, err := net.InterfaceAddrs()
	if err != nil {
		return out
	}
	for _, a := range own {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Masked())
		}
	}
	return out
}

// freeSubnet cuts a subnet out of pool. Where it starts to look depends on the
// name, so that two platforms on one host seldom want the same.
func freeSubnet(pool netip.Prefix, name string, taken []netip.Prefix) (netip.Prefix, error) {
	count := uint32(1) << (NetworkBits - pool.Bits())
	h := fnv.New32a()
	h.Write([]byte(name))
	first := binary.BigEndian.Uint32(pool.Masked().Addr().AsSlice())
	for i := range count {
		n := (h.Sum32() + i) % count
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], first+n<<(32-NetworkBits))
		p := netip.PrefixFrom(netip.AddrFrom4(a), NetworkBits)
		if !overlaps(p, taken) {
			return p, nil
		}
	}
	return netip.Prefix{}, errors.New(codes.ResourceExhausted, "no subnet is left in %s for another namespace: set MICRO_SCHEDULER_SUBNETS to a larger one", pool)
}

func overlaps(p netip.Prefix, others []netip.Prefix) bool {
	for _, o := range others {
		if p.Overlaps(o) {
			return true
		}
	}
	return false
}

// removeNetwork removes the network of a namespace that has no service and no
// container left.
func (d *Driver) removeNetwork(ctx context.Context, namespace string) error {
	d.changes.Lock()
	defer d.changes.Unlock()
	of := map[string]string{plan.LabelNamespace: namespace}
	services, err := d.engine.ServiceList(ctx, swarm.ServiceListOptions{Filters: d.having(of)})
	if err != nil {
		return fmt.Errorf("list services: %w", err)
	}
	if left, err := d.left(ctx, namespace); err != nil || left+len(services) > 0 {
		return err
	}
	name := plan.Network(d.opts.Cluster, namespace)
	if d.several() {
		return d.removeOverlay(ctx, name)
	}
	for _, n := range []string{name, name + configSuffix} {
		if err := d.engine.NetworkRemove(ctx, n); err != nil && !isGone(err) {
			// Docker lets go of a network a moment after its last container: tend
			// removes what is left.
			d.log.Debug("network not removed yet", "network", n, "error", err)
		}
	}
	return nil
}
