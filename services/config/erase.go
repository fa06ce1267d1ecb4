package config

import (
	"context"
	"fmt"

	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pg"
	configpb "github.com/micro/platform/proto/config"
)

// erasePage is how many rows one Erase removes: a version has up to a megabyte.
const erasePage = 50

// componentsAPI implements Components.
type componentsAPI struct {
	configpb.UnsafeComponentsServer

	s *Service
}

// Erase implements Components. Watchers see an empty document.
func (a componentsAPI) Erase(ctx context.Context, req *configpb.EraseRequest) (*configpb.EraseResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	if req.GetNamespace() == "" {
		return nil, invalid("namespace is missing")
	}
	done, err := pg.Erase(ctx, a.s.db.pool, "config", req.GetNamespace(), erasePage)
	if err != nil {
		return nil, err
	}
	if _, err := a.s.db.pool.Exec(ctx, `SELECT pg_notify($1, $2)`, channel, req.GetNamespace()); err != nil {
		return nil, fmt.Errorf("notify: %w", err)
	}
	return &configpb.EraseResponse{Done: done}, nil
}
