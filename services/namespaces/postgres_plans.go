package namespaces

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// channel is where Postgres tells of namespaces whose plan, suspension or
// throttles have changed; the payload is the namespace.
const channel = "namespaces_tenants"

// tenantRow is what is to be known of a namespace.
type tenantRow struct {
	Namespace    string
	Plan         *string
	Limits       map[string]int64
	SuspendedAt  *time.Time
	SuspendedFor string
	Throttles    []throttleRow
	State        string // of its deletion, "" for none
	EraseAt      *time.Time
	Since        *time.Time // of one whose name another one had
}

type throttleRow struct {
	Service string    `json:"service"`
	Action  int16     `json:"action"`
	Reason  string    `json:"reason"`
	Since   time.Time `json:"since"`
}

// differs says whether anybody has to be told of the namespace.
func (r tenantRow) differs() bool {
	return r.Plan != nil || len(r.Limits) > 0 || r.SuspendedAt != nil || len(r.Throttles) > 0 || r.State != "" || r.Since != nil
}

// tenantOf selects what is to be known of each namespace among names, a query.
// The name of one that was erased is known until it is free.
func tenantOf(names string) string {
	return `
	SELECT k.namespace, n.plan, coalesce(n.limits, '{}') AS limits, n.suspended_at, coalesce(n.suspended_for, '') AS suspended_for,
		coalesce((SELECT jsonb_agg(jsonb_build_object('service', t.service, 'action', t.action, 'reason', t.reason, 'since', t.since) ORDER BY t.service)
			FROM namespaces.throttles t WHERE t.namespace = n.namespace), '[]') AS throttles,
		coalesce(d.state, '') AS state, d.erase_at, CASE WHEN n.reborn THEN n.created_at END AS since
	FROM (` + names + `) k
	LEFT JOIN namespaces.namespaces n ON n.namespace = k.namespace AND n.active_at IS NOT NULL
	LEFT JOIN namespaces.deletions d ON d.namespace = k.namespace AND (d.state <> 'erased' OR n.namespace IS NULL AND coalesce(d.free_at > now(), true))
	WHERE n.namespace IS NOT NULL OR d.namespace IS NOT NULL
	ORDER BY k.namespace`
}

// tenants answers one namespace, or none.
func (d db) tenants(ctx context.Context, namespace string) ([]tenantRow, error) {
	return d.collectTenants(ctx, tenantOf(`SELECT $1::text AS namespace`), namespace)
}

// differing answers every namespace that is not as the default is.
func (d db) differing(ctx context.Context) ([]tenantRow, error) {
	const names = `
		SELECT namespace FROM namespaces.namespaces WHERE plan IS NOT NULL OR limits <> '{}' OR suspended_at IS NOT NULL OR reborn
		UNION SELECT namespace FROM namespaces.throttles
		UNION SELECT namespace FROM namespaces.deletions`
	return d.collectTenants(ctx, tenantOf(names))
}

func (d db) collectTenants(ctx context.Context, q string, args ...any) ([]tenantRow, error) {
	rows, _ := d.pool.Query(ctx, q, args...) // CollectRows reports the error
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[tenantRow])
	if err != nil {
		return nil, fmt.Errorf("read plans of namespaces: %w", err)
	}
	return found, nil
}

// changePlan lets change decide on the plan and the limits of a namespace, while
// nobody else changes them.
func (d db) changePlan(ctx context.Context, namespace string, change func(*tenantRow) error) error {
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		const read = `
			SELECT plan, limits FROM namespaces.namespaces
			WHERE namespace = $1 AND active_at IS NOT NULL
			FOR UPDATE`
		r := tenantRow{Namespace: namespace}
		err := tx.QueryRow(ctx, read, namespace).Scan(&r.Plan, &r.Limits)
		if err == pgx.ErrNoRows {
			return errNone
		}
		if err != nil {
			return fmt.Errorf("read plan: %w", err)
		}
		if err := change(&r); err != nil {
			return err
		}
		const write = `UPDATE namespaces.namespaces SET plan = $2, limits = $3 WHERE namespace = $1`
		if _, err := tx.Exec(ctx, write, namespace, r.Plan, r.Limits); err != nil {
			return fmt.Errorf("write plan: %w", err)
		}
		return tell(ctx, tx, namespace)
	})
}

// suspend suspends a namespace for a reason, or lifts that when there is none.
// A suspension that goes on keeps its beginning.
func (d db) suspend(ctx context.Context, namespace string, reason *string) (found bool, err error) {
	const q = `
		UPDATE namespaces.namespaces
		SET suspended_for = $2, suspended_at = CASE WHEN $2::text IS NULL THEN NULL ELSE coalesce(suspended_at, now()) END
		WHERE namespace = $1 AND active_at IS NOT NULL`
	err = pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, q, namespace, reason)
		if err != nil {
			return fmt.Errorf("suspend namespace: %w", err)
		}
		if found = tag.RowsAffected() > 0; !found {
			return nil
		}
		return tell(ctx, tx, namespace)
	})
	return found, err
}

// throttle sets what holds a service of a namespace back, or lifts it. What is
// set already is not told again.
func (d db) throttle(ctx context.Context, namespace string, t throttleRow) (found bool, err error) {
	const lock = `SELECT true FROM namespaces.namespaces WHERE namespace = $1 AND active_at IS NOT NULL FOR UPDATE`
	const lift = `DELETE FROM namespaces.throttles WHERE namespace = $1 AND service = $2`
	const set = `
		INSERT INTO namespaces.throttles (namespace, service, action, reason)
		VALUES ($1, $2, $3, $4)
		ON CONFLICT (namespace, service) DO UPDATE SET action = EXCLUDED.action, reason = EXCLUDED.reason, since = now()
		WHERE (throttles.action, throttles.reason) <> (EXCLUDED.action, EXCLUDED.reason)`
	err = pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, lock, namespace).Scan(&found)
		if err == pgx.ErrNoRows {
			return nil
		}
		if err != nil {
			return fmt.Errorf("find namespace: %w", err)
		}
		q, args := lift, []any{namespace, t.Service}
		if t.Action != 0 {
			q, args = set, append(args, t.Action, t.Reason)
		}
		tag, err := tx.Exec(ctx, q, args...)
		if err != nil {
			return fmt.Errorf("set throttle: %w", err)
		}
		if tag.RowsAffected() == 0 {
			return nil
		}
		return tell(ctx, tx, namespace)
	})
	return found, err
}

// tell tells every process when tx commits.
func tell(ctx context.Context, tx pgx.Tx, namespace string) error {
	if _, err := tx.Exec(ctx, "SELECT pg_notify($1, $2)", channel, namespace); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	return nil
}
