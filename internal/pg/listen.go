package pg

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// listenQuiet is how long a connection may say nothing before it is asked
	// whether there is still somebody at the other end, and listenAnswer how
	// soon that one has to answer: a connection that died without a word would
	// be waited on for ever.
	listenQuiet  = 5 * time.Second
	listenAnswer = 2 * time.Second
	// listenAgain is the wait before another try after a connection was lost.
	listenAgain = 500 * time.Millisecond
)

// Listener hears the notifications of one channel, over a connection of its
// own.
type Listener struct {
	Pool    *pgxpool.Pool
	Channel string
	Log     *slog.Logger

	// Began is called when the connection listens, before the first
	// notification: state that is read then misses nothing.
	Began func(context.Context) error
	// Heard is called with the payload of each notification, in the order of
	// the commits. As with Began, an error gives the connection up.
	Heard func(ctx context.Context, payload string) error
}

// Run listens until ctx ends, through losses of the connection.
func (l Listener) Run(ctx context.Context) error {
	for {
		err := l.Once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		l.Log.WarnContext(ctx, "changes are not heard of, trying again", "channel", l.Channel, "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(listenAgain):
		}
	}
}

// Once listens until the connection is lost.
func (l Listener) Once(ctx context.Context) error {
	pooled, err := l.Pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect to listen: %w", err)
	}
	conn := pooled.Hijack() // one that listens must not serve anything else
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), listenAnswer)
		defer cancel()
		conn.Close(ctx) //nolint:errcheck // it is given up
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+l.Channel); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if err := l.Began(ctx); err != nil {
		return err
	}
	for {
		payload, err := notification(ctx, conn)
		if err != nil {
			return err
		}
		if err := l.Heard(ctx, payload); err != nil {
			return err
		}
	}
}

// notification waits for the next one.
func notification(ctx context.Context, conn *pgx.Conn) (payload string, err error) {
	for {
		waiting, cancel := context.WithTimeout(ctx, listenQuiet)
		n, err := conn.WaitForNotification(waiting)
		idle := err != nil && waiting.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case err == nil:
			return n.Payload, nil
		case !idle:
			return "", fmt.Errorf("wait for notification: %w", err)
		}
		asking, cancel := context.WithTimeout(ctx, listenAnswer)
		err = conn.Ping(asking)
		cancel()
		if err != nil {
			return "", fmt.Errorf("ping: %w", err)
		}
	}
}
