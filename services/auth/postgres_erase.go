package auth

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// erasePage is how many accounts, or rows, one Erase removes.
const erasePage = 500

// eraseAccounts removes accounts of a namespace, with the people who have no
// other, and its rules, and refuses all tokens of it, the last of which expires
// after longest. Later accounts of a namespace of that name have later epochs.
func (d db) eraseAccounts(ctx context.Context, namespace string, longest time.Duration) (removed int, err error) {
	const accounts = `
		DELETE FROM auth.accounts
		WHERE namespace = $1 AND id IN (SELECT id FROM auth.accounts WHERE namespace = $1 ORDER BY id LIMIT $2)
		RETURNING coalesce(person, '')`
	const people = `
		DELETE FROM auth.people AS p
		WHERE p.mailbox = ANY($1) AND NOT EXISTS (SELECT FROM auth.accounts AS a WHERE a.person = p.mailbox)`
	err = pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		rows, _ := tx.Query(ctx, accounts, namespace, erasePage) // CollectRows reports the error
		persons, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return fmt.Errorf("erase accounts: %w", err)
		}
		removed = len(persons)
		if _, err := tx.Exec(ctx, people, persons); err != nil {
			return fmt.Errorf("erase people: %w", err)
		}
		if _, err := tx.Exec(ctx, `DELETE FROM auth.rules WHERE namespace = $1`, namespace); err != nil {
			return fmt.Errorf("erase rules: %w", err)
		}
		if err := notify(ctx, tx, notice{Rules: namespace}); err != nil {
			return err
		}
		return revokeAll(ctx, tx, namespace, longest)
	})
	return removed, err
}

// revokeAll refuses every token that a namespace has had.
func revokeAll(ctx context.Context, tx pgx.Tx, namespace string, longest time.Duration) error {
	const q = `
		INSERT INTO auth.erased (namespace, epoch, expires_at)
		VALUES ($1, nextval('auth.epochs'), now() + $2::interval)
		ON CONFLICT (namespace) DO UPDATE SET epoch = excluded.epoch, expires_at = excluded.expires_at
		RETURNING epoch, expires_at`
	n := revocationNotice{Namespace: namespace, Erased: true}
	var expires time.Time
	if err := tx.QueryRow(ctx, q, namespace, longest).Scan(&n.Epoch, &expires); err != nil {
		return fmt.Errorf("revoke tokens of %s: %w", namespace, err)
	}
	n.Expires = expires.Unix()
	return notify(ctx, tx, notice{Revocation: &n})
}
