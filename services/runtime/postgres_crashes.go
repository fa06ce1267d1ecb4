package runtime

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// addCrashes keeps crashes of a revision, the oldest first, and lets go of the
// oldest of the service.
func (d db) addCrashes(ctx context.Context, r revision, crashes []crash) error {
	const insert = `
		INSERT INTO runtime.crashes (namespace, name, version, container, revision, at, exit_code, signal, out_of_memory, reason, lines)
		VALUES (@namespace, @name, @version, @container, @revision, @at, @exit_code, @signal, @out_of_memory, @reason, @lines)
		ON CONFLICT DO NOTHING`
	const count = `
		UPDATE runtime.revisions SET restarts = restarts + @count, crashed_at = @last
		WHERE namespace = @namespace AND name = @name AND version = @version AND number = @revision
		  AND coalesce(crashed_at, 'epoch') < @last`
	const forget = `
		DELETE FROM runtime.crashes
		WHERE namespace = @namespace AND name = @name AND version = @version AND container NOT IN (
			SELECT container FROM runtime.crashes
			WHERE namespace = @namespace AND name = @name AND version = @version
			ORDER BY at DESC, container
			LIMIT @keep)`
	args := pgx.NamedArgs{"namespace": r.Namespace, "name": r.Name, "version": r.Version, "revision": r.Number,
		"count": len(crashes), "last": crashes[len(crashes)-1].At, "keep": keptCrashes}
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, count, args)
		if err != nil {
			return fmt.Errorf("count crashes: %w", err)
		}
		if tag.RowsAffected() == 0 {
			return nil // the revision is forgotten, or they are known
		}
		for _, c := range crashes {
			args["container"], args["at"], args["exit_code"], args["signal"] = c.Container, c.At, c.ExitCode, c.Signal
			args["out_of_memory"], args["reason"], args["lines"] = c.OutOfMemory, c.Reason, c.Lines
			if _, err := tx.Exec(ctx, insert, args); err != nil {
				return fmt.Errorf("keep crash: %w", err)
			}
		}
		if _, err := tx.Exec(ctx, forget, args); err != nil {
			return fmt.Errorf("forget crashes: %w", err)
		}
		return nil
	})
}

// crashes answers those that are kept of a service, newest first.
func (d db) crashes(ctx context.Context, k key) ([]crash, error) {
	const q = `
		SELECT revision, container, at, exit_code, signal, out_of_memory, reason, lines
		FROM runtime.crashes
		WHERE namespace = $1 AND name = $2 AND version = $3
		ORDER BY at DESC, container
		LIMIT $4`
	rows, _ := d.pool.Query(ctx, q, k.Namespace, k.Name, k.Version, keptCrashes)
	out, err := pgx.CollectRows(rows, pgx.RowToStructByName[crash])
	if err != nil {
		return nil, fmt.Errorf("read crashes: %w", err)
	}
	return out, nil
}
