package runtime

import (
	"context"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/bucket"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pg"
	runtimepb "github.com/micro/platform/proto/runtime"
)

// erasePage is how many services, uploads or rows one Erase removes.
const erasePage = 100

// componentsAPI implements Components.
type componentsAPI struct {
	runtimepb.UnsafeComponentsServer

	s   *Service
	dir string // of a bucket in the file system
}

// Erase implements Components. Services are deleted as their owners would: the
// reconciler removes what runs of them. When none is left the rest goes.
func (a componentsAPI) Erase(ctx context.Context, req *runtimepb.EraseRequest) (*runtimepb.EraseResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	ns := req.GetNamespace()
	if ns == "" {
		return nil, invalid("namespace is missing")
	}
	services, err := a.s.db.services(ctx, ns, erasePage)
	if err != nil {
		return nil, err
	}
	for _, x := range services {
		if x.Deleted {
			continue
		}
		if err := a.s.db.remove(ctx, x.key); err != nil && !errors.Is(err, errNotFound) {
			return nil, err
		}
	}
	if len(services) > 0 {
		return &runtimepb.EraseResponse{}, nil
	}
	sources := bucket.Folder{Bucket: a.s.bucket, Dir: a.dir, Name: sourcesOf(ns)}
	if done, err := sources.Erase(ctx, erasePage); err != nil || !done {
		return &runtimepb.EraseResponse{}, err
	}
	done, err := pg.Erase(ctx, a.s.db.pool, "runtime", ns, erasePage, "services", "revisions", "crashes")
	return &runtimepb.EraseResponse{Done: done}, err
}
