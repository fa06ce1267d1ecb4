package registry

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// holdName refuses a deployed service a name that others have nodes under,
// unless it was deployed by that name: then those of other services go.
func holdName(ctx context.Context, tx pgx.Tx, r registration) error {
	if r.deployed == "" {
		return nil
	}
	if r.deployed == r.Service {
		return removeIntruders(ctx, tx, r)
	}
	const q = `
		SELECT EXISTS (
			SELECT 1 FROM registry.nodes
			WHERE namespace = $1 AND service = $2 AND deployed <> $3 AND (expires_at IS NULL OR expires_at > now()))`
	// Two that come at once take turns, or both would find it free.
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1 || '//' || $2, 0))", r.Namespace, r.Service); err != nil {
		return fmt.Errorf("lock name: %w", err)
	}
	var taken bool
	if err := tx.QueryRow(ctx, q, r.Namespace, r.Service, r.deployed).Scan(&taken); err != nil {
		return fmt.Errorf("look who has the name: %w", err)
	}
	if taken {
		return nameTaken(r, "another has registered already")
	}
	return nil
}

// removeIntruders removes the nodes of services that were deployed under other
// names than the one they registered, which is r's.
func removeIntruders(ctx context.Context, tx pgx.Tx, r registration) error {
	const foreign = `namespace = $1 AND service = $2 AND deployed NOT IN ('', $2)`
	locked, err := lockVersions(ctx, tx, `(v.namespace, v.service, v.version) IN (SELECT namespace, service, version FROM registry.nodes WHERE `+foreign+`)`,
		"", r.Namespace, r.Service)
	if err != nil {
		return err
	}
	return removeNodes(ctx, tx, locked, `DELETE FROM registry.nodes WHERE `+foreign, r.Namespace, r.Service)
}
