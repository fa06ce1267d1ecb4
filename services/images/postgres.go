package images

import (
	"context"
	"fmt"
	"time"

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

// with runs f while this process holds a lock.
func (d db) with(ctx context.Context, lock string, f func()) error {
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
	f()
	return nil
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
