package pg

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Next waits for a notification on a connection that listens, and answers its
// payload. A connection that was quiet for so long is asked whether there is
// still somebody at the other end, who has to answer within that time: one that
// died without a word would be waited on for ever.
func Next(ctx context.Context, conn *pgx.Conn, quiet, answer time.Duration) (payload string, err error) {
	for {
		waiting, cancel := context.WithTimeout(ctx, quiet)
		n, err := conn.WaitForNotification(waiting)
		idle := err != nil && waiting.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case err == nil:
			return n.Payload, nil
		case !idle:
			return "", fmt.Errorf("wait for notification: %w", err)
		}
		asking, cancel := context.WithTimeout(ctx, answer)
		err = conn.Ping(asking)
		cancel()
		if err != nil {
			return "", fmt.Errorf("ping: %w", err)
		}
	}
}
