package usage

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// daysBefore answers days of namespaces that are old, the oldest first: all, or
// those with details.
func (d db) daysBefore(ctx context.Context, day time.Time, detailed bool) ([]namespaceDay, error) {
	const q = `
		SELECT namespace, day
		FROM usage.series
		WHERE day < @day AND (detailed OR NOT @detailed::boolean)
		ORDER BY day, namespace
		LIMIT @limit`
	rows, _ := d.pool.Query(ctx, q, pgx.NamedArgs{"day": day, "detailed": detailed, "limit": retainPage}) // CollectRows reports the error
	out, err := pgx.CollectRows(rows, pgx.RowToStructByName[namespaceDay])
	if err != nil {
		return nil, fmt.Errorf("look for old days: %w", err)
	}
	return out, nil
}

// sumUp makes one row of those of a service and a class. What comes late is
// summed up later.
func (d db) sumUp(ctx context.Context, n namespaceDay) error {
	const lock = `SELECT rows FROM usage.series WHERE namespace = $1 AND day = $2 FOR UPDATE`
	const take = `
		DELETE FROM usage.days
		WHERE namespace = $1 AND day = $2 AND (endpoint <> '' OR account <> '')
		RETURNING namespace, day, service, '', '', class, calls, refused, bytes_in, bytes_out,
			cpu_milli_seconds, memory_mib_seconds, egress_bytes, stored_byte_hours, build_seconds`
	const done = `
		UPDATE usage.series
		SET detailed = false, rows = (SELECT count(*) FROM usage.days WHERE namespace = $1 AND day = $2)
		WHERE namespace = $1 AND day = $2`
	err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lock, n.Namespace, n.Day); err != nil {
			return err
		}
		rows, _ := tx.Query(ctx, take, n.Namespace, n.Day) // CollectRows reports the error
		taken, err := pgx.CollectRows(rows, scanRow)
		if err != nil {
			return err
		}
		sums := tally{}
		for _, r := range taken {
			sums.add(r.key, r.amounts)
		}
		if err := addDays(ctx, tx, sums); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, done, n.Namespace, n.Day)
		return err
	})
	if err != nil {
		return fmt.Errorf("sum up a day: %w", err)
	}
	return nil
}

// deleteDay deletes a day of a namespace.
func (d db) deleteDay(ctx context.Context, n namespaceDay) error {
	err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		for _, q := range []string{
			`DELETE FROM usage.series WHERE namespace = $1 AND day = $2`,
			`DELETE FROM usage.days WHERE namespace = $1 AND day = $2`,
		} {
			if _, err := tx.Exec(ctx, q, n.Namespace, n.Day); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("delete a day: %w", err)
	}
	return nil
}

// oldMeters deletes those of a kind.
const oldMeters = `
	DELETE FROM usage.meters
	WHERE meter LIKE '%[1]s'
	  AND seen_at < (SELECT max(seen_at) FROM usage.meters WHERE meter LIKE '%[1]s') - $1::interval`

// prune deletes what else is of no use any more. What was there when its kind was
// last looked at stays, however long ago that is.
func (d db) prune(ctx context.Context, end time.Time) error {
	for q, before := range map[string]any{
		`DELETE FROM usage.months WHERE month < $1`:                     end.AddDate(0, -1, 0),
		`DELETE FROM usage.alerts WHERE month < $1`:                     end.AddDate(0, -1, 0),
		`DELETE FROM usage.logs WHERE folded_at < now() - $1::interval`: keepLogsFor,
		fmt.Sprintf(oldMeters, "container %"):                           keepMetersFor,
		fmt.Sprintf(oldMeters, "build %"):                               keepMetersFor,
	} {
		if _, err := d.pool.Exec(ctx, q, before); err != nil {
			return fmt.Errorf("delete what is old: %w", err)
		}
	}
	return nil
}
