package edgetest

import (
	"google.golang.org/grpc"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/internal/identity"
	namespacespb "github.com/micro/platform/proto/namespaces"
)

// namespaces pushes the standard catalogue, and what a test decides.
type namespaces struct {
	namespacespb.UnimplementedComponentsServer

	feed feed[*namespacespb.Change]
}

func (n *namespaces) register(s grpc.ServiceRegistrar) {
	namespacespb.RegisterComponentsServer(s, n)
}

// Tenant says what a namespace may take. All are on the plan local before.
func (p *Platform) Tenant(t *namespacespb.Tenant) {
	p.namespaces.feed.send(&namespacespb.Change{Tenant: t})
}

// Watch implements namespacespb.ComponentsServer.
func (n *namespaces) Watch(_ *namespacespb.WatchRequest, s grpc.ServerStreamingServer[namespacespb.Change]) error {
	if err := identity.RequireComponent(s.Context()); err != nil {
		return err
	}
	c, err := plans.Standard()
	if err != nil {
		return err
	}
	for _, p := range c.Plans {
		plan := &namespacespb.Plan{Id: p.ID, Limits: p.Limits.Map(), Default: p.ID == plans.Local}
		if err := s.Send(&namespacespb.Change{Plan: plan}); err != nil {
			return err
		}
	}
	return n.feed.serve(s.Context(), &namespacespb.Change{Ready: true}, s.Send)
}
