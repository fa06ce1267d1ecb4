package pg

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// A follower tries every leaderPoll, and a leader makes sure as often that its
// lock is still there. It is answered within leaderAnswer or stops leading: both
// together are less than what Postgres takes to let go of the lock of a host
// that it does not hear of any more (params).
const (
	leaderPoll   = 2 * time.Second
	leaderAnswer = 2 * time.Second
)

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
	conn := tryLock(ctx, pool, key)
	if conn == nil {
		return nil
	}
	defer giveUp(ctx, conn)
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
			if err := ping(ctx, conn); err != nil {
				cancel(errLost)
				<-done
				return nil
			}
		}
	}
}

// tryLock answers the connection that has the lock, nil where another process has
// it or Postgres is away.
func tryLock(ctx context.Context, pool *pgxpool.Pool, key int64) *pgxpool.Conn {
	asking, cancel := context.WithTimeout(ctx, leaderAnswer)
	defer cancel()
	conn, err := pool.Acquire(asking)
	if err != nil {
		return nil
	}
	var held bool
	if err := conn.QueryRow(asking, "SELECT pg_try_advisory_lock($1)", key).Scan(&held); err != nil {
		giveUp(ctx, conn) // it may have the lock
		return nil
	}
	if !held {
		conn.Release()
		return nil
	}
	return conn
}

// giveUp closes a connection: a lock is the connection's, so this is the one sure
// way to be without it.
func giveUp(ctx context.Context, conn *pgxpool.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaderAnswer)
	defer cancel()
	conn.Conn().Close(ctx) //nolint:errcheck // closed either way
	conn.Release()
}

func ping(ctx context.Context, conn *pgxpool.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, leaderAnswer)
	defer cancel()
	return conn.Ping(ctx)
}
