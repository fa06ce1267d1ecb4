package registry

import (
	"context"

	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pg"
	registrypb "github.com/micro/platform/proto/registry"
)

// erasePage is how many versions, or rows, one Erase removes.
const erasePage = 500

// components is the API registry.Components, for the platform alone.
type components struct {
	registrypb.UnsafeComponentsServer
	*Service
}

// Erase implements Components.
func (s components) Erase(ctx context.Context, req *registrypb.EraseRequest) (*registrypb.EraseResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	ns := req.GetNamespace()
	if ns == "" || ns == everything {
		return nil, invalid("namespace: name one")
	}
	removed, err := s.db.eraseNodes(ctx, ns)
	if err != nil || removed == erasePage {
		return &registrypb.EraseResponse{}, err
	}
	done, err := pg.Erase(ctx, s.db.pool, "registry", ns, erasePage)
	return &registrypb.EraseResponse{Done: done}, err
}
