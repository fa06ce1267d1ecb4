package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	authpb "github.com/micro/platform/proto/auth"
)

// revokeSession refuses the access tokens of a login or an API token, the last
// of which expires after longest.
func revokeSession(ctx context.Context, tx pgx.Tx, namespace, session string, longest time.Duration) error {
	const q = `
		INSERT INTO auth.session_revocations (namespace, session, expires_at)
		VALUES ($1, $2, now() + $3::interval)
		ON CONFLICT (namespace, session) DO UPDATE SET expires_at = excluded.expires_at
		RETURNING expires_at`
	n := revocationNotice{Namespace: namespace, Session: session}
	var expires time.Time
	if err := tx.QueryRow(ctx, q, namespace, session, longest).Scan(&expires); err != nil {
		return fmt.Errorf("revoke tokens of %s: %w", session, err)
	}
	n.Expires = expires.Unix()
	return notify(ctx, tx, notice{Revocation: &n})
}

// revocations answers all that are in force.
func (d db) revocations(ctx context.Context) ([]*authpb.Revocation, error) {
	const q = `
		SELECT namespace, account, '' AS session, epoch, service, '{}'::bigint[] AS living, kept_session, expires_at, false AS erased
		FROM auth.revocations
		WHERE expires_at > now()
		UNION ALL
		SELECT namespace, '', session, 0, false, '{}', '', expires_at, false
		FROM auth.session_revocations
		WHERE expires_at > now()
		UNION ALL
		SELECT namespace, '', '', epoch, true, living, '', expires_at, false
		FROM auth.gone_services
		WHERE expires_at > now()
		UNION ALL
		SELECT namespace, '', '', epoch, false, '{}', '', expires_at, true
		FROM auth.erased
		WHERE expires_at > now()
		ORDER BY namespace, account, session`
	rows, _ := d.pool.Query(ctx, q) // CollectRows reports the error
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*authpb.Revocation, error) {
		r, expires := &authpb.Revocation{}, time.Time{}
		err := row.Scan(&r.Namespace, &r.Account, &r.Session, &r.Epoch, &r.Service, &r.Living, &r.KeptSession, &expires, &r.Erased)
		r.Expires = expires.Unix()
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("list revocations: %w", err)
	}
	return list, nil
}

// settled is how long ago a revocation must have been for it to be merged. By
// then there is no transaction any more that makes an account of a smaller epoch.
const settled = time.Hour

// crowded answers namespaces where at least n services are gone whose
// revocations can be merged.
func (d db) crowded(ctx context.Context, n int) ([]string, error) {
	const q = `
		SELECT namespace
		FROM auth.revocations
		WHERE service AND kept_session = '' AND revoked_at < now() - $1::interval
		GROUP BY namespace
		HAVING count(*) >= $2
		ORDER BY namespace
		LIMIT 100`
	rows, _ := d.pool.Query(ctx, q, settled, n) // CollectRows reports the error
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("find namespaces with many revocations: %w", err)
	}
	return list, nil
}

// mergeGone puts one row in the place of a namespace's revocations of services.
// Epochs come from one sequence: below that of the last revocation there are
// the epochs of services that live, which the row lists, and of those that are
// gone.
func (d db) mergeGone(ctx context.Context, namespace string) error {
	const merge = `
		WITH gone AS (
			DELETE FROM auth.revocations
			WHERE namespace = $1 AND service AND kept_session = '' AND revoked_at < now() - $2::interval
			RETURNING epoch, expires_at
		), before AS (
			SELECT epoch, expires_at FROM auth.gone_services WHERE namespace = $1
			UNION ALL
			SELECT epoch, expires_at FROM gone
		), last AS (
			SELECT max(epoch) AS epoch, max(expires_at) AS expires_at FROM before
		)
		INSERT INTO auth.gone_services (namespace, epoch, living, expires_at)
		SELECT $1, last.epoch, ARRAY(
			SELECT a.epoch FROM auth.accounts AS a
			WHERE a.namespace = $1 AND a.type = 'service' AND a.epoch < last.epoch
			ORDER BY a.epoch), last.expires_at
		FROM last
		WHERE EXISTS (SELECT FROM gone)
		ON CONFLICT (namespace) DO UPDATE
		SET epoch = excluded.epoch, living = excluded.living, expires_at = excluded.expires_at`
	err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		// Two processes at once would each see half of it.
		const lock = `SELECT pg_advisory_xact_lock(hashtextextended('services of ' || $1, 0))`
		if _, err := tx.Exec(ctx, lock, namespace); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, merge, namespace, settled)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		return notify(ctx, tx, notice{Services: namespace})
	})
	if err != nil {
		return fmt.Errorf("merge revocations: %w", err)
	}
	return nil
}

// goneServices answers what stands for a namespace's services that are gone, or
// nil.
func (d db) goneServices(ctx context.Context, namespace string) (*authpb.Revocation, error) {
	const q = `SELECT epoch, living, expires_at FROM auth.gone_services WHERE namespace = $1 AND expires_at > now()`
	r, expires := &authpb.Revocation{Namespace: namespace, Service: true}, time.Time{}
	err := d.pool.QueryRow(ctx, q, namespace).Scan(&r.Epoch, &r.Living, &expires)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get revocation of services: %w", err)
	}
	r.Expires = expires.Unix()
	return r, nil
}
