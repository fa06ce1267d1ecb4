package containers

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/scheduler/plan"
)

// Busy answers how many containers of a deployment run, and whether somebody is
// connected to one, or may be, where that cannot be seen. It looks from both ends:
// connections of containers to each other are seen in theirs, those of a container
// in gVisor at the edges only, which may have some to containers elsewhere too.
func (d *Docker) Busy(ctx context.Context, id plan.ID, elsewhere []netip.Addr) (running int, connected bool, err error) {
	found, err := d.list(ctx, plan.Labels(d.opts.Cluster, id), false)
	if err != nil {
		return 0, false, err
	}
	at := map[netip.Addr]bool{}
	for _, a := range elsewhere {
		at[a] = true
	}
	for _, c := range found {
		if !d.opts.Local {
			return len(found), true, nil
		}
		info, err := d.inspect(ctx, c.ID)
		if err != nil {
			return 0, false, err
		}
		if info == nil || !info.State.Running {
			continue
		}
		if n, known := connections(info.State.Pid, c.ID); n > 0 || !known {
			return len(found), true, nil
		}
		if c.NetworkSettings == nil {
			continue
		}
		for _, n := range c.NetworkSettings.Networks {
			if ip, err := netip.ParseAddr(n.IPAddress); err == nil {
				at[ip] = true
			}
		}
	}
	if len(at) == 0 {
		return len(found), false, nil
	}
	connected, err = d.called(ctx, at)
	return len(found), connected, err
}

// called says whether an edge on this host is connected to one of the addresses.
// Where there are no overlays, edges have the network of this process.
func (d *Docker) called(ctx context.Context, at map[netip.Addr]bool) (bool, error) {
	if d.opts.Files == nil {
		return connectedTo("/proc/self/net/tcp", at)
	}
	edges, err := d.engine.ContainerList(ctx, container.ListOptions{Filters: filters.NewArgs(
		filters.Arg("label", plan.LabelCluster+"="+d.opts.Cluster), filters.Arg("label", plan.LabelPart+"="+plan.PartEdge))})
	if err != nil {
		return false, fmt.Errorf("list edges: %w", err)
	}
	for _, c := range edges {
		info, err := d.inspect(ctx, c.ID)
		if err != nil {
			return false, err
		}
		if info == nil || info.State.Pid == 0 {
			continue
		}
		connected, err := connectedTo(fmt.Sprintf("/proc/%d/net/tcp", info.State.Pid), at)
		if connected || err != nil {
			return connected, err
		}
	}
	return false, nil
}

// maxConnections is how many connections of an edge are looked at.
const maxConnections = 1 << 20

// connectedTo says whether a list of sockets, as in /proc, has a connection to one
// of the addresses.
func connectedTo(file string, at map[netip.Addr]bool) (bool, error) {
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil // the edge has ended
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	return callsTo(f, at)
}

func callsTo(sockets io.Reader, at map[netip.Addr]bool) (bool, error) {
	lines := bufio.NewScanner(sockets)
	for n := 0; lines.Scan(); n++ {
		if n == maxConnections { // more than can be seen
			return true, nil
		}
		f := strings.Fields(lines.Text())
		if len(f) < 4 || f[3] != establishedState {
			continue
		}
		if to, ok := parseSocket(f[2]); ok && at[to.Addr()] {
			return true, nil
		}
	}
	return false, lines.Err()
}
