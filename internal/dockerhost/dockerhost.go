package dockerhost

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

// New makes a client of the Docker that the environment names: DOCKER_HOST, or
// the socket of this machine. Nothing is dialled before the first call.
func New() (*client.Client, error) {
	c, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, fmt.Errorf("DOCKER_HOST: %w", err)
	}
	return c, nil
}

// Local says whether that Docker is on this machine, so that its containers'
// processes and addresses are this machine's too.
func Local(c *client.Client) bool { return Socket(c) != "" }

// Socket is the path of the socket that Docker is reached at, "" where it is none.
func Socket(c *client.Client) string {
	if path, ok := strings.CutPrefix(c.DaemonHost(), "unix://"); ok {
		return path
	}
	return ""
}

// Root answers where that Docker keeps images and containers.
func Root(ctx context.Context, c *client.Client) (string, error) {
	info, err := c.Info(ctx)
	return info.DockerRootDir, err
}

// bridges are the networks that Docker itself makes. Their gateways are
// addresses of this host, which containers of every other bridge reach as well.
var bridges = []string{"bridge", "docker_gwbridge"}

const timeout = 3 * time.Second

// Gateway answers the address of this host that containers reach, on whatever
// network they are. What listens there is not reachable from other machines
// unless this host forwards to it.
func Gateway(ctx context.Context) (netip.Addr, error) {
	c, err := New()
	if err != nil {
		return netip.Addr{}, err
	}
	defer c.Close()
	if !Local(c) {
		return netip.Addr{}, errors.New(codes.FailedPrecondition, "Docker at %s is not on this machine: MICRO_SCHEDULER_EDGE_ADDRESS must say where its containers reach the proxy", c.DaemonHost())
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for _, name := range bridges {
		n, err := c.NetworkInspect(ctx, name, network.InspectOptions{})
		if client.IsErrConnectionFailed(err) {
			return netip.Addr{}, Unreachable(c.DaemonHost(), err)
		}
		if errdefs.IsNotFound(err) {
			continue // this host does not have that one
		}
		if err != nil { // a busy Docker is asked again
			return netip.Addr{}, errors.New(codes.Unavailable, "Docker at %s does not say what its network %s is, try again", c.DaemonHost(), name).Because(err)
		}
		for _, cfg := range n.IPAM.Config {
			a, err := own(cfg.Subnet)
			if err != nil || a.IsValid() {
				return a, err
			}
		}
	}
	return netip.Addr{}, errors.New(codes.FailedPrecondition, "Docker at %s has no bridge network whose gateway is this machine: MICRO_SCHEDULER_EDGE_ADDRESS must say where its containers reach the proxy", c.DaemonHost())
}

// Unreachable is the error for a Docker that does not answer, for people who
// can do something about it.
func Unreachable(host string, cause error) error {
	return errors.New(codes.Unavailable, "Docker is not reachable at %s: start it with `systemctl start docker`, or set DOCKER_HOST",
		strings.TrimPrefix(host, "unix://")).Because(cause)
}

// own answers the address of this host in a subnet of IPv4, none if it has none
// there. Docker itself does not always say it: its first start leaves the gateway
// of its bridge out.
func own(subnet string) (netip.Addr, error) {
	p, err := netip.ParsePrefix(subnet)
	if err != nil || !p.Addr().Is4() {
		return netip.Addr{}, nil //nolint:nilerr // another family, or a driver's own notation
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Addr{}, errors.New(codes.Unavailable, "this host does not say which addresses it has, try again").Because(err)
	}
	for _, a := range all {
		if n, err := netip.ParsePrefix(a.String()); err == nil && p.Contains(n.Addr()) {
			return n.Addr(), nil
		}
	}
	return netip.Addr{}, nil
}
