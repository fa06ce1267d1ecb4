package scheduler

import (
	"context"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	schedulerpb "github.com/micro/platform/proto/scheduler"
)

// componentsAPI implements Components.
type componentsAPI struct {
	schedulerpb.UnsafeComponentsServer

	s *Service
}

// Erase implements Components.
func (a componentsAPI) Erase(ctx context.Context, req *schedulerpb.EraseRequest) (*schedulerpb.EraseResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	if req.GetNamespace() == "" {
		return nil, errors.BadRequest("", "namespace is empty")
	}
	done, err := a.s.driver.Erase(ctx, req.GetNamespace())
	return &schedulerpb.EraseResponse{Done: done}, err
}
