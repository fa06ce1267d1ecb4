package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// withOld answers some namespaces that have rows from before a time.
func (d db) withOld(ctx context.Context, before time.Time) ([]string, error) {
	rows, _ := d.pool.Query(ctx, `
		SELECT DISTINCT namespace FROM (SELECT namespace FROM audit.entries WHERE at < $1 ORDER BY at LIMIT $2) old`, before, removePage) // CollectRows reports the error
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for old entries: %w", err)
	}
	return names, nil
}

// remove removes the first rows of a namespace that are from before a time, and
// keeps the hash of the last of them, on which the next row stands.
func (d db) remove(ctx context.Context, namespace string, before time.Time) error {
	const mark = `
		INSERT INTO audit.checkpoints (namespace, last, hash, at)
		SELECT namespace, id, hash, at FROM (
			SELECT namespace, id, hash, at FROM audit.entries WHERE namespace = $1 ORDER BY id LIMIT $3) first
		WHERE at < $2 ORDER BY id DESC LIMIT 1
		ON CONFLICT (namespace) DO UPDATE SET last = excluded.last, hash = excluded.hash, at = excluded.at, removed_at = now()
		WHERE excluded.last > checkpoints.last
		RETURNING last`
	err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		var last int64
		err := tx.QueryRow(ctx, mark, namespace, before, removePage).Scan(&last)
		if err == pgx.ErrNoRows { // another process was faster
			return nil
		}
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `DELETE FROM audit.entries WHERE namespace = $1 AND id <= $2`, namespace, last)
		return err
	})
	if err != nil {
		return fmt.Errorf("remove old entries of %s: %w", namespace, err)
	}
	return nil
}

// beginning answers where a namespace's chain begins: after which row, and the
// hash of that row.
func (d db) beginning(ctx context.Context, namespace string) (last int64, hash []byte, err error) {
	err = d.pool.QueryRow(ctx, `SELECT last, hash FROM audit.checkpoints WHERE namespace = $1`, namespace).Scan(&last, &hash)
	if err != nil && err != pgx.ErrNoRows {
		return 0, nil, fmt.Errorf("read the beginning of the audit log: %w", err)
	}
	return last, hash, nil
}
