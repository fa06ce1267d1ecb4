package builder

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/builder/image"
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

// cancelAll cancels the builds of a namespace, takes them off the queue, and says
// whether a worker may still have one in hand.
func (d db) cancelAll(ctx context.Context, namespace string) (running bool, err error) {
	const cancel = `
		UPDATE builder.builds
		SET phase = @canceled, reason = 'canceled', ended_at = now(), credentials = NULL
		WHERE phase IN (@queued, @running) AND namespace = @namespace`
	const lately = `SELECT EXISTS (SELECT FROM builder.builds WHERE namespace = $1 AND ended_at > now() - $2::interval)`
	const dequeue = `DELETE FROM builder.river_job WHERE kind = 'build' AND args->>'Namespace' = $1`
	if _, err := d.pool.Exec(ctx, cancel, with(args(image.ID{Namespace: namespace}), pgx.NamedArgs{"canceled": builderpb.State_CANCELED})); err != nil {
		return false, fmt.Errorf("cancel builds: %w", err)
	}
	if err := d.pool.QueryRow(ctx, lately, namespace, silence).Scan(&running); err != nil {
		return false, fmt.Errorf("look for running builds: %w", err)
	}
	if running {
		return true, nil
	}
	if _, err := d.pool.Exec(ctx, dequeue, namespace); err != nil {
		return false, fmt.Errorf("take builds off the queue: %w", err)
	}
	return false, nil
}

// isErased says whether nothing is known of a namespace whose cache is on this
// host.
func (s *Service) isErased(ctx context.Context, namespace string) (bool, error) {
	has, err := s.db.hasBuilt(ctx, namespace)
	return err == nil && !has, err
}

// hasBuilt says whether anything is known of builds of a namespace.
func (d db) hasBuilt(ctx context.Context, namespace string) (bool, error) {
	const q = `
		SELECT EXISTS (SELECT FROM builder.builds WHERE namespace = $1) OR EXISTS (SELECT FROM builder.minutes WHERE namespace = $1)`
	var has bool
	if err := d.pool.QueryRow(ctx, q, namespace).Scan(&has); err != nil {
		return false, fmt.Errorf("look for builds: %w", err)
	}
	return has, nil
}
