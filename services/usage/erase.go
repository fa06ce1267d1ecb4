package usage

import (
	"context"
	"time"

	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pg"
	usagepb "github.com/micro/platform/proto/usage"
)

// erasePage is how many rows one Erase removes.
const erasePage = 5000

// Erase implements Components.
func (s *Service) Erase(ctx context.Context, req *usagepb.EraseRequest) (*usagepb.EraseResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	if req.GetNamespace() == "" {
		return nil, invalid("namespace is missing")
	}
	done, err := pg.Erase(ctx, s.db.pool, "usage", req.GetNamespace(), erasePage)
	return &usagepb.EraseResponse{Done: done}, err
}

// lost says whether what was used at a time is to be forgotten: the namespace is
// erased, or being erased, or was by then another one of that name. An edge that
// was cut off for long may tell of it late.
func (s *Service) lost(ctx context.Context, namespace string, at time.Time) (bool, error) {
	t, err := s.keeper.tenants.Of(ctx, namespace)
	if err != nil {
		return false, err
	}
	return t.Gone() || at.Before(t.Since), nil
}
