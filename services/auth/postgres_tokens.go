package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/micro/platform/internal/pg"
)

// createAPIToken adds a token of an account that is still in an epoch.
func (d db) createAPIToken(ctx context.Context, t apiToken, hash []byte, epoch int64, limit int) error {
	err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		// The account stays, and in its epoch, until this is over.
		const q = `
			SELECT (SELECT count(*) FROM auth.api_tokens WHERE namespace = $1)
			FROM auth.accounts
			WHERE namespace = $1 AND id = $2 AND epoch = $3
			FOR SHARE`
		var n int
		err := tx.QueryRow(ctx, q, t.Namespace, t.Account, epoch).Scan(&n)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return errNoAccount
		case err != nil:
			return err
		case n >= limit:
			return errTooMany
		}
		const insert = `
			INSERT INTO auth.api_tokens (namespace, id, account, name, hash, grants, created_at, expires_at)
			VALUES (@namespace, @id, @account, @name, @hash, @grants, @created_at, @expires_at)`
		_, err = tx.Exec(ctx, insert, pgx.NamedArgs{
			"namespace": t.Namespace, "id": t.ID, "account": t.Account, "name": t.Name, "hash": hash,
			"grants": t.Grants, "created_at": t.CreatedAt, "expires_at": t.ExpiresAt,
		})
		return err
	})
	switch {
	case err == nil, err == errNoAccount, err == errTooMany:
		return err
	case pg.Violates(err, "api_tokens_name"):
		return errNameTaken
	default:
		return fmt.Errorf("create API token: %w", err)
	}
}

// listAPITokens answers the tokens of an account, or without one those of the
// namespace. Their number is bounded when they are made.
func (d db) listAPITokens(ctx context.Context, namespace, account string) ([]apiToken, error) {
	const q = `
		SELECT namespace, id, account, name, grants, created_at, expires_at, last_used_at
		FROM auth.api_tokens
		WHERE namespace = $1 AND ($2 = '' OR account = $2)
		ORDER BY account, name`
	rows, _ := d.pool.Query(ctx, q, namespace, account) // CollectRows reports the error
	list, err := pgx.CollectRows(rows, pgx.RowToStructByName[apiToken])
	if err != nil {
		return nil, fmt.Errorf("list API tokens: %w", err)
	}
	return list, nil
}

// apiTokenSearch names a token by its id, or by the name that own gave it. Only
// those of account count, if there is one.
type apiTokenSearch struct{ namespace, id, own, account string }

// deleteAPIToken removes a token and refuses what was exchanged for it, the last
// of which expires after longest.
func (d db) deleteAPIToken(ctx context.Context, s apiTokenSearch, longest time.Duration) (found bool, err error) {
	err = pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		const q = `
			DELETE FROM auth.api_tokens
			WHERE namespace = @namespace AND id = (
				SELECT id FROM auth.api_tokens
				WHERE namespace = @namespace AND (id = @id OR name = @id AND account = @own)
					AND (@account = '' OR account = @account)
				ORDER BY id = @id DESC
				LIMIT 1)
			RETURNING id`
		var id string
		err := tx.QueryRow(ctx, q, pgx.NamedArgs{"namespace": s.namespace, "id": s.id, "own": s.own, "account": s.account}).Scan(&id)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		found = true
		return revokeSession(ctx, tx, s.namespace, id, longest)
	})
	if err != nil {
		return false, fmt.Errorf("delete API token: %w", err)
	}
	return found, nil
}

// apiToken answers a token by its hash, and its account; errNoAccount if there
// is none.
func (d db) apiToken(ctx context.Context, hash []byte) (apiToken, account, error) {
	const q = `
		SELECT namespace, id, account, name, grants, created_at, expires_at, last_used_at
		FROM auth.api_tokens
		WHERE hash = $1`
	rows, _ := d.pool.Query(ctx, q, hash) // CollectExactlyOneRow reports the error
	t, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[apiToken])
	if errors.Is(err, pgx.ErrNoRows) {
		return t, account{}, errNoAccount
	}
	if err != nil {
		return t, account{}, fmt.Errorf("get API token: %w", err)
	}
	a, err := d.account(ctx, t.Namespace, t.Account)
	return t, a, err
}

// useAPIToken notes that a token was used, at most once a minute. A call waits for
// it, so it does not wait for the disk: a power cut may take the note back.
func (d db) useAPIToken(ctx context.Context, t apiToken) error {
	const q = `
		UPDATE auth.api_tokens SET last_used_at = now()
		FROM set_config('synchronous_commit', 'off', true)
		WHERE namespace = $1 AND id = $2 AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')`
	if _, err := d.pool.Exec(ctx, q, t.Namespace, t.ID); err != nil {
		return fmt.Errorf("note use of API token: %w", err)
	}
	return nil
}
