package builder

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/micro/platform/builder/image"
	builderpb "github.com/micro/platform/proto/builder"
)

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
