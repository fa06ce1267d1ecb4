package registry

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pg"
	registrypb "github.com/micro/platform/proto/registry"
)

// erasePage is how many versions, or rows, one Erase removes.
const erasePage = 500

// componentsAPI implements Components.
type componentsAPI struct {
	registrypb.UnsafeComponentsServer

	s *Service
}

// Erase implements Components.
func (a componentsAPI) Erase(ctx context.Context, req *registrypb.EraseRequest) (*registrypb.EraseResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	ns := req.GetNamespace()
	if ns == "" || ns == everything {
		return nil, invalid("namespace: name one")
	}
	removed, err := a.s.db.eraseNodes(ctx, ns)
	if err != nil || removed == erasePage {
		return &registrypb.EraseResponse{}, err
	}
	done, err := pg.Erase(ctx, a.s.db.pool, "registry", ns, erasePage)
	return &registrypb.EraseResponse{Done: done}, err
}

// eraseNodes removes versions of a namespace with their nodes, and tells.
func (d db) eraseNodes(ctx context.Context, namespace string) (removed int, err error) {
	const some = `
		v.namespace = $1 AND (v.service, v.version) IN (
			SELECT s.service, s.version FROM registry.versions s WHERE s.namespace = $1 ORDER BY s.service, s.version LIMIT $2)`
	const nodes = `
		DELETE FROM registry.nodes
		WHERE (namespace, service, version) IN (SELECT * FROM unnest($1::text[], $2::text[], $3::text[]))`
	err = pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		locked, err := lockVersions(ctx, tx, some, "", namespace, erasePage)
		if err != nil {
			return err
		}
		removed = len(locked)
		namespaces, services, versions := columns(locked)
		return removeNodes(ctx, tx, locked, nodes, namespaces, services, versions)
	})
	return removed, err
}
