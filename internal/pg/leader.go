package pg

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// leaderPoll is how often a follower tries, and how often a leader makes sure
// that its lock is still there.
const leaderPoll = 2 * time.Second

// Lead runs work while this process holds the lock of that name, and tries
// again for as long as ctx lives. work's context ends when the lock is lost. An
// error of work ends the whole; nil means it stopped because it was told to.
func Lead(ctx context.Context, pool *pgxpool.Pool, name string, work func(context.Context) error) error {
	h := fnv.New64a()
	h.Write([]byte("leader " + name))
	key := int64(h.Sum64())
	for ctx.Err() == nil {
		if err := lead(ctx, pool, key, work); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(leaderPoll):
		}
	}
	return nil
}

// errLost ends the work of a leader whose connection is gone.
var errLost = errors.New("the leader lock is lost")

func lead(ctx context.Context, pool *pgxpool.Pool, key int64, work func(context.Context) error) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil // Postgres is away: try again
	}
	// A lock is the connection's: closing it is the one sure way to give it up.
	defer func() { conn.Conn().Close(context.WithoutCancel(ctx)); conn.Release() }() //nolint:errcheck // closed either way
	var held bool
	if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", key).Scan(&held); err != nil || !held {
		return nil
	}
	work1, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan error, 1)
	go func() { done <- work(work1) }()
	for {
		select {
		case err := <-done:
			if err != nil && work1.Err() == nil {
				return fmt.Errorf("leader: %w", err)
			}
			return nil
		case <-time.After(leaderPoll):
			if err := conn.Ping(ctx); err != nil {
				cancel(errLost)
				<-done
				return nil
			}
		}
	}
}
