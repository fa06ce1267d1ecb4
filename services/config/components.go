package config

import (
	"context"

	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pg"
	configpb "github.com/micro/platform/proto/config"
)

// erasePage is how many rows one Erase removes: a version has up to a megabyte.
const erasePage = 50

// components is the API config.Components, for the platform alone.
type components struct {
	configpb.UnsafeComponentsServer
	*Service
}

// Erase implements Components. Watchers see an empty document.
func (s components) Erase(ctx context.Context, req *configpb.EraseRequest) (*configpb.EraseResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	if req.GetNamespace() == "" {
		return nil, invalid("namespace is missing")
	}
	done, err := pg.Erase(ctx, s.db.pool, "config", req.GetNamespace(), erasePage)
	if err != nil {
		return nil, err
	}
	return &configpb.EraseResponse{Done: done}, s.db.tell(ctx, req.GetNamespace())
}
