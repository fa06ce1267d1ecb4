package proxy

import (
	"context"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/dockerhost"
	"github.com/micro/platform/internal/ingress"
	"github.com/micro/platform/internal/outside"
	"github.com/micro/platform/proxy/edge"
	"github.com/micro/platform/proxy/egress"
)

// lookAgain is how long to wait for a Docker that is not there yet.
const lookAgain = 5 * time.Second

// maxContainerConnections is how many connections a container may have. Clients
// of Micro need one, those that pool them at most a hundred.
const maxContainerConnections = 256

// serveContainers serves the listener that tenants' containers reach.
func serveContainers(ctx context.Context, h *app.Host, e *edge.Edge, o Options, room *ingress.Room) error {
	if o.ContainerAddress == "none" {
		return nil
	}
	host, port, err := net.SplitHostPort(o.Address)
	if err != nil {
		return fmt.Errorf("MICRO_PROXY_ADDRESS: %w", err)
	}
	if ip := net.ParseIP(host); o.ContainerAddress == "auto" && (host == "" || ip.IsUnspecified()) {
		return nil // they reach that one
	}
	address := o.ContainerAddress
	if address == "auto" {
		if address, err = bridge(ctx, port); err != nil {
			h.Log.Warn("containers cannot reach the proxy until Docker is there", "error", err)
			address = ""
		}
	}
	run(h, &server{edge: e, log: h.Log, containers: true}, o.serving(maxContainerStreams), func(ctx context.Context, g *grpc.Server) error {
		for address == "" {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(lookAgain):
			}
			address, _ = bridge(ctx, port) // said once that it is not there
		}
		l, err := h.Listen("MICRO_PROXY_CONTAINER_ADDRESS", address)
		if err != nil {
			return err
		}
		h.Log.Debug("listening for containers", "address", address)
		return g.Serve(ingress.New(l, ingress.Options{PerAddress: maxContainerConnections, Resets: maxContainerResets, Room: room}, h.Log))
	})
	return nil
}

// serveEgress serves the listener that containers leave their networks by.
func serveEgress(h *app.Host, e *edge.Edge, o Options) error {
	if o.EgressAddress == "" {
		return nil
	}
	l, err := h.Listen("MICRO_PROXY_EGRESS_ADDRESS", o.EgressAddress)
	if err != nil {
		return err
	}
	l = ingress.New(l, ingress.Options{PerAddress: maxContainerConnections}, h.Log)
	egress.Serve(h, e, l, outside.Dialer{Open: o.EgressOpen, Closed: o.EgressClosed, Mail: o.EgressMail})
	return nil
}

// bridge is the address of this host on Docker's bridge.
func bridge(ctx context.Context, port string) (string, error) {
	a, err := dockerhost.Gateway(ctx)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(a.String(), port), nil
}
