package builder

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	builderpb "github.com/micro/platform/proto/builder"
)

// attempts answers those under way, and those that have ended, the oldest first.
func (d db) attempts(ctx context.Context, limit int) ([]*builderpb.Attempt, error) {
	const q = `
		(SELECT namespace, service, version, revision, attempt, started_at, coalesce(heartbeat_at, started_at) AS until, false AS ended
		FROM builder.builds
		WHERE phase = @running AND started_at IS NOT NULL)
		UNION ALL
		(SELECT namespace, service, version, revision, attempt, started_at, ended_at, true
		FROM builder.attempts
		ORDER BY ended_at, namespace, service, version, revision, attempt
		LIMIT @limit)`
	rows, _ := d.pool.Query(ctx, q, pgx.NamedArgs{"running": builderpb.State_RUNNING, "limit": limit}) // CollectRows reports the error
	out, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (*builderpb.Attempt, error) {
		a := &builderpb.Attempt{Id: &builderpb.ID{}}
		var started, until time.Time
		err := r.Scan(&a.Id.Namespace, &a.Id.Service, &a.Id.Version, &a.Id.Revision, &a.Attempt, &started, &until, &a.Ended)
		a.Started, a.Until = started.UnixMicro(), until.UnixMicro()
		return a, err
	})
	if err != nil {
		return nil, fmt.Errorf("list attempts: %w", err)
	}
	return out, nil
}

// forgetAttempts deletes attempts that are counted.
func (d db) forgetAttempts(ctx context.Context, counted []*builderpb.Attempt) error {
	if len(counted) == 0 {
		return nil
	}
	const q = `
		DELETE FROM builder.attempts a
		USING unnest(@namespaces::text[], @services::text[], @versions::text[], @revisions::bigint[], @attempts::bigint[], @started::timestamptz[])
			AS c (namespace, service, version, revision, attempt, started_at)
		WHERE a.namespace = c.namespace AND a.service = c.service AND a.version = c.version
		  AND a.revision = c.revision AND a.attempt = c.attempt AND a.started_at = c.started_at`
	_, err := d.pool.Exec(ctx, q, pgx.NamedArgs{
		"namespaces": column(counted, func(a *builderpb.Attempt) string { return a.GetId().GetNamespace() }),
		"services":   column(counted, func(a *builderpb.Attempt) string { return a.GetId().GetService() }),
		"versions":   column(counted, func(a *builderpb.Attempt) string { return a.GetId().GetVersion() }),
		"revisions":  column(counted, func(a *builderpb.Attempt) int64 { return a.GetId().GetRevision() }),
		"attempts":   column(counted, (*builderpb.Attempt).GetAttempt),
		"started":    column(counted, func(a *builderpb.Attempt) time.Time { return time.UnixMicro(a.GetStarted()) }),
	})
	if err != nil {
		return fmt.Errorf("forget attempts: %w", err)
	}
	return nil
}

func column[T any](all []*builderpb.Attempt, of func(*builderpb.Attempt) T) []T {
	out := make([]T, len(all))
	for i, a := range all {
		out[i] = of(a)
	}
	return out
}
