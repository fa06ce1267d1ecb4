package images

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

type db struct{ pool *pgxpool.Pool }

// What changes the registry has the lock with others, a sweep has it alone. It is
// a connection's, since a transaction may not wait for as long.
const (
	lockShared = `SELECT pg_advisory_lock_shared(hashtextextended('images changes', 0))`
	lockAlone  = `SELECT pg_advisory_lock(hashtextextended('images changes', 0))`
	unlock     = `SELECT pg_advisory_unlock_all()`
)

// answerTimeout bounds how long Postgres may take to say that a lock is still held:
// less than after which it lets go of one whose host is silent.
const answerTimeout = 2 * time.Second

// with runs f while this process holds a lock. held asks whether it still does.
func (d db) with(ctx context.Context, lock string, f func(held func() error)) error {
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect for the lock of the registry: %w", err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, lock); err != nil {
		return fmt.Errorf("lock the registry: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if _, err := conn.Exec(ctx, unlock); err != nil {
			conn.Conn().Close(ctx) //nolint:errcheck // it takes the lock with it
		}
	}()
	f(func() error {
		ctx, cancel := context.WithTimeout(ctx, answerTimeout)
		defer cancel()
		if err := conn.Ping(ctx); err != nil {
			return fmt.Errorf("the lock of the registry is lost: %w", err)
		}
		return nil
	})
	return nil
}

// change notes that a repository changes now.
func (d db) change(ctx context.Context, repository string) error {
	const q = `
		INSERT INTO images.changes (repository, at)
		VALUES ($1, clock_timestamp())
		ON CONFLICT (repository) DO UPDATE SET at = clock_timestamp()`
	if _, err := d.pool.Exec(ctx, q, repository); err != nil {
		return fmt.Errorf("note change of repository: %w", err)
	}
	return nil
}

// changed answers which repositories have changed since a moment, at most limit of
// them.
func (d db) changed(ctx context.Context, since time.Time, limit int) ([]string, error) {
	const q = `SELECT repository FROM images.changes WHERE at >= $1 ORDER BY repository LIMIT $2`
	rows, _ := d.pool.Query(ctx, q, since, limit) // CollectRows reports the error
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for changes: %w", err)
	}
	return out, nil
}

// forget forgets the changes of a namespace.
func (d db) forget(ctx context.Context, namespace string) error {
	const q = `DELETE FROM images.changes WHERE starts_with(repository, $1 || '/')`
	if _, err := d.pool.Exec(ctx, q, namespace); err != nil {
		return fmt.Errorf("forget changes of %s: %w", namespace, err)
	}
	return nil
}

// begin answers the time in Postgres, and forgets changes that no sweep has to
// know of.
func (d db) begin(ctx context.Context) (now time.Time, err error) {
	const q = `
		WITH old AS (DELETE FROM images.changes WHERE at < now() - @sweep::interval)
		SELECT clock_timestamp()`
	if err := d.pool.QueryRow(ctx, q, pgx.NamedArgs{"sweep": 2 * sweepTime}).Scan(&now); err != nil {
		return now, fmt.Errorf("begin sweep: %w", err)
	}
	return now, nil
}

// due notes a sweep and answers true, unless there was one within the interval.
func (d db) due(ctx context.Context, interval time.Duration) (bool, error) {
	const q = `
		INSERT INTO images.sweeps (last)
		VALUES (now())
		ON CONFLICT (one) DO UPDATE SET last = now() WHERE sweeps.last < now() - $1::interval`
	tag, err := d.pool.Exec(ctx, q, interval)
	if err != nil {
		return false, fmt.Errorf("note sweep: %w", err)
	}
	return tag.RowsAffected() > 0, nil
}
