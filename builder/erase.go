package builder

import (
	"context"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pg"
	builderpb "github.com/micro/platform/proto/builder"
)

// erasePage is how many rows one Erase removes.
const erasePage = 500

// componentsAPI implements Components.
type componentsAPI struct {
	builderpb.UnsafeComponentsServer

	s *Service
}

// Erase implements Components. A namespace that has never built has nothing on
// Docker, which need not be there then.
func (a componentsAPI) Erase(ctx context.Context, req *builderpb.EraseRequest) (*builderpb.EraseResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	ns := req.GetNamespace()
	if ns == "" {
		return nil, errors.New(codes.InvalidArgument, "namespace is empty")
	}
	running, err := a.s.db.cancelAll(ctx, ns)
	if err != nil || running {
		return &builderpb.EraseResponse{}, err
	}
	built, err := a.s.db.hasBuilt(ctx, ns)
	if err != nil {
		return nil, err
	}
	if built {
		if gone, err := a.s.images.Erase(ctx, ns); err != nil || !gone {
			return &builderpb.EraseResponse{}, err
		}
	}
	done, err := pg.Erase(ctx, a.s.db.pool, "builder", ns, erasePage)
	return &builderpb.EraseResponse{Done: done}, err
}

// isErased says whether nothing is known of a namespace whose cache is on this
// host.
func (s *Service) isErased(ctx context.Context, namespace string) (bool, error) {
	has, err := s.db.hasBuilt(ctx, namespace)
	return err == nil && !has, err
}
