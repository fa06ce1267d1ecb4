package scheduler

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
)

// keepID refuses another id than that of the first start: what runs would not be
// found, and be started once more.
func keepID(ctx context.Context, pool *pgxpool.Pool, id string) error {
	const first = `INSERT INTO scheduler.cluster (id) VALUES ($1) ON CONFLICT DO NOTHING`
	if _, err := pool.Exec(ctx, first, id); err != nil {
		return fmt.Errorf("keep the cluster's id: %w", err)
	}
	var kept string
	if err := pool.QueryRow(ctx, `SELECT id FROM scheduler.cluster`).Scan(&kept); err != nil {
		return fmt.Errorf("get the cluster's id: %w", err)
	}
	if kept != id {
		return fmt.Errorf("MICRO_CLUSTER_ID must be %s, which the platform's things in Docker bear, not %s", kept, id)
	}
	return nil
}
