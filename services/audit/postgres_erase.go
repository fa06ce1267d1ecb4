package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// isErased says whether the log of a namespace was erased, and no other has begun.
func (d db) isErased(ctx context.Context, namespace string) (is bool, err error) {
	const q = `
		SELECT EXISTS (SELECT FROM audit.erased WHERE namespace = $1) AND NOT EXISTS (SELECT FROM audit.chains WHERE namespace = $1)`
	if err := d.pool.QueryRow(ctx, q, namespace).Scan(&is); err != nil {
		return false, fmt.Errorf("look for an erased log: %w", err)
	}
	return is, nil
}

// leaveEntry writes down that a namespace is erased, once for each deletion.
func (d db) leaveEntry(ctx context.Context, namespace string, deleted time.Time, entry *row) error {
	const q = `INSERT INTO audit.erased (namespace, deleted_at) VALUES ($1, $2) ON CONFLICT DO NOTHING`
	err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, q, namespace, deleted)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		_, err = addIn(ctx, tx, []*row{entry}) // no end of a call, so nothing else to be refused
		return err
	})
	if err != nil {
		return fmt.Errorf("write down that %s is erased: %w", namespace, err)
	}
	return nil
}
