package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	authpb "github.com/micro/platform/proto/auth"
)

var (
	errNoKey    = errors.New("no such key")
	errKeySigns = errors.New("key signs")
)

// publicKey is a row of auth.keys, without the private key. One of Active,
// SignsFrom and ExpiresAt is set.
type publicKey struct {
	ID        string
	Public    []byte
	Active    bool
	CreatedAt time.Time
	SignsFrom *time.Time
	ExpiresAt *time.Time
}

func (k publicKey) proto() *authpb.Key {
	return &authpb.Key{Id: k.ID, Der: k.Public, Created: k.CreatedAt.Unix(), Signs: k.Active,
		SignsFrom: unix(k.SignsFrom), Expires: unix(k.ExpiresAt)}
}

// createFirstKey makes a key the one that signs, unless there is one.
func (d db) createFirstKey(ctx context.Context, k newKey) error {
	const q = `
		INSERT INTO auth.keys (id, public, private, active)
		VALUES ($1, $2, $3, true)
		ON CONFLICT DO NOTHING`
	if _, err := d.pool.Exec(ctx, q, k.id, k.public, k.sealed); err != nil {
		return fmt.Errorf("create signing key: %w", err)
	}
	return nil
}

// createNextKey makes a key that signs after delay. If there is a next key, it
// keeps that one, which signs no later then.
func (d db) createNextKey(ctx context.Context, k newKey, delay time.Duration) (publicKey, error) {
	var next publicKey
	err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		const q = `
			INSERT INTO auth.keys (id, public, private, active, signs_from)
			VALUES ($1, $2, $3, false, now() + $4::interval)
			ON CONFLICT ((signs_from IS NOT NULL)) WHERE signs_from IS NOT NULL DO UPDATE
			SET signs_from = least(keys.signs_from, excluded.signs_from)
			RETURNING id, public, active, created_at, signs_from, expires_at`
		rows, _ := tx.Query(ctx, q, k.id, k.public, k.sealed, delay) // CollectExactlyOneRow reports the error
		var err error
		if next, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[publicKey]); err != nil {
			return err
		}
		return notify(ctx, tx, notice{Keys: true})
	})
	if err != nil {
		return next, fmt.Errorf("create next key: %w", err)
	}
	return next, nil
}

// promoteKey has the next key sign if it is time, and answers its id. The one
// before verifies for longest from now.
func (d db) promoteKey(ctx context.Context, longest time.Duration) (id string, err error) {
	err = pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		const due = `SELECT id FROM auth.keys WHERE signs_from <= now() FOR UPDATE`
		err := tx.QueryRow(ctx, due).Scan(&id)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		const before = `UPDATE auth.keys SET active = false, expires_at = clock_timestamp() + $1::interval WHERE active`
		if _, err := tx.Exec(ctx, before, longest); err != nil {
			return err
		}
		const q = `UPDATE auth.keys SET active = true, signs_from = NULL WHERE id = $1`
		if _, err := tx.Exec(ctx, q, id); err != nil {
			return err
		}
		return notify(ctx, tx, notice{Keys: true})
	})
	if err != nil {
		return "", fmt.Errorf("promote key: %w", err)
	}
	return id, nil
}

// retireKey removes a key that does not sign.
func (d db) retireKey(ctx context.Context, id string) error {
	err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		var active bool
		err := tx.QueryRow(ctx, `SELECT active FROM auth.keys WHERE id = $1 FOR UPDATE`, id).Scan(&active)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return errNoKey
		case err != nil:
			return err
		case active:
			return errKeySigns
		}
		if _, err := tx.Exec(ctx, `DELETE FROM auth.keys WHERE id = $1`, id); err != nil {
			return err
		}
		return notify(ctx, tx, notice{Keys: true})
	})
	if err == nil || err == errNoKey || err == errKeySigns {
		return err
	}
	return fmt.Errorf("retire key: %w", err)
}

// pruneKeys removes keys whose last token has expired.
func (d db) pruneKeys(ctx context.Context) error {
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `DELETE FROM auth.keys WHERE NOT active AND expires_at < now()`)
		if err != nil {
			return fmt.Errorf("prune keys: %w", err)
		}
		if tag.RowsAffected() == 0 {
			return nil
		}
		return notify(ctx, tx, notice{Keys: true})
	})
}

func (d db) activeKey(ctx context.Context) (id string, sealed []byte, err error) {
	const q = `SELECT id, private FROM auth.keys WHERE active`
	err = d.pool.QueryRow(ctx, q).Scan(&id, &sealed)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil, errNoKey
	}
	if err != nil {
		return "", nil, fmt.Errorf("get signing key: %w", err)
	}
	return id, sealed, nil
}

// keys answers all public keys that count, the latest first.
func (d db) keys(ctx context.Context) ([]publicKey, error) {
	const q = `
		SELECT id, public, active, created_at, signs_from, expires_at
		FROM auth.keys
		WHERE expires_at IS NULL OR expires_at > now()
		ORDER BY created_at DESC, id
		LIMIT 100` // more than maxKeys
	rows, _ := d.pool.Query(ctx, q) // CollectRows reports the error
	list, err := pgx.CollectRows(rows, pgx.RowToStructByName[publicKey])
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	return list, nil
}
