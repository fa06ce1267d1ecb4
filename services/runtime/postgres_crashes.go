package runtime

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// addCrashes keeps crashes of a revision, the oldest first, and lets go of the
// oldest of the service.
func (d db) addCrashes(ctx context.Context, r revision, crashes []crash) error {
	const count = `
		UPDATE runtime.revisions SET restarts = restarts + @count, crashed_at = @last
		WHERE namespace = @namespace AND name = @name AND version = @version AND number = @revision
		  AND coalesce(crashed_at, 'epoch') < @last`
	args := pgx.NamedArgs{"namespace": r.Namespace, "name": r.Name, "version": r.Version, "revision": r.Number,
		"count": len(crashes), "last": crashes[len(crashes)-1].At}
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, count, args)
		if err != nil {
			return fmt.Errorf("count crashes: %w", err)
		}
		if tag.RowsAffected() == 0 {
			return nil // the revision is forgotten, or they are known
		}
		return keep(ctx, tx, r.key, crashes)
	})
}

// addEnds keeps ends of a revision's containers that were asked for, and lets go
// of the oldest of the service.
func (d db) addEnds(ctx context.Context, r revision, ends []crash) error {
	if len(ends) == 0 {
		return nil
	}
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error { return keep(ctx, tx, r.key, ends) })
}

// keep keeps ends of one kind: crashes, or what was asked for.
func keep(ctx context.Context, tx pgx.Tx, k key, ends []crash) error {
	const insert = `
		INSERT INTO runtime.crashes (namespace, name, version, container, revision, at, exit_code, signal, out_of_memory, reason, lines, asked)
		SELECT @namespace, @name, @version, @container, @revision, @at, @exit_code, @signal, @out_of_memory, @reason, @lines, @asked
		FROM runtime.services
		WHERE namespace = @namespace AND name = @name AND version = @version
		ON CONFLICT DO NOTHING`
	const forget = `
		DELETE FROM runtime.crashes
		WHERE namespace = @namespace AND name = @name AND version = @version AND asked = @asked AND container NOT IN (
			SELECT container FROM runtime.crashes
			WHERE namespace = @namespace AND name = @name AND version = @version AND asked = @asked
			ORDER BY at DESC, container
			LIMIT @keep)`
	args := pgx.NamedArgs{"namespace": k.Namespace, "name": k.Name, "version": k.Version, "keep": keptCrashes, "asked": ends[0].Asked}
	for _, c := range ends {
		args["container"], args["revision"], args["at"], args["exit_code"], args["signal"] = c.Container, c.Revision, c.At, c.ExitCode, c.Signal
		args["out_of_memory"], args["reason"], args["lines"] = c.OutOfMemory, c.Reason, c.Lines
		if _, err := tx.Exec(ctx, insert, args); err != nil {
			return fmt.Errorf("keep the end of a container: %w", err)
		}
	}
	if _, err := tx.Exec(ctx, forget, args); err != nil {
		return fmt.Errorf("forget ends of containers: %w", err)
	}
	return nil
}

// crashes answers those that are kept of a service, newest first.
func (d db) crashes(ctx context.Context, k key) ([]crash, error) {
	const q = `
		SELECT revision, container, at, exit_code, signal, out_of_memory, reason, lines, asked
		FROM runtime.crashes
		WHERE namespace = $1 AND name = $2 AND version = $3
		ORDER BY at DESC, container
		LIMIT $4`
	rows, _ := d.pool.Query(ctx, q, k.Namespace, k.Name, k.Version, 2*keptCrashes)
	out, err := pgx.CollectRows(rows, pgx.RowToStructByName[crash])
	if err != nil {
		return nil, fmt.Errorf("read crashes: %w", err)
	}
	return out, nil
}
