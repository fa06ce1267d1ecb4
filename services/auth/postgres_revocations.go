package auth

import (
	"context"
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
		SELECT namespace, account, '' AS session, epoch, service, '{}'::bigint[] AS living, kept_session, expires_at
		FROM auth.revocations
		WHERE expires_at > now()
		UNION ALL
		SELECT namespace, '', session, 0, false, '{}', '', expires_at
		FROM auth.session_revocations
		WHERE expires_at > now()
		UNION ALL
		SELECT namespace, '', '', epoch, true, living, '', expires_at
		FROM auth.gone_services
		WHERE expires_at > now()
		ORDER BY namespace, account, session`
	rows, _ := d.pool.Query(ctx, q) // CollectRows reports the error
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*authpb.Revocation, error) {
		r, expires := &authpb.Revocation{}, time.Time{}
		err := row.Scan(&r.Namespace, &r.Account, &r.Session, &r.Epoch, &r.Service, &r.Living, &r.KeptSession, &expires)
		r.Expires = expires.Unix()
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("list revocations: %w", err)
	}
	return list, nil
}
