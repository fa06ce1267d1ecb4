package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-webauthn/webauthn/webauthn"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/micro/platform/internal/pg"
)

// execer is the pool, or a transaction.
type execer interface {
	Exec(ctx context.Context, q string, args ...any) (pgconn.CommandTag, error)
}

var errNoPasskey = errors.New("no such passkey")

// passkey is a row of auth.passkeys.
type passkey struct {
	ID         []byte
	Mailbox    string
	Name       string
	Credential webauthn.Credential
	Uses       int64
	CreatedAt  time.Time
	UsedAt     *time.Time
}

// passkeys answers those of a person, by name.
func (d db) passkeys(ctx context.Context, mailbox string) ([]passkey, error) {
	const q = `
		SELECT id, mailbox, name, credential, uses, created_at, used_at
		FROM auth.passkeys
		WHERE mailbox = $1
		ORDER BY name
		LIMIT $2`
	rows, _ := d.pool.Query(ctx, q, mailbox, maxPasskeys) // CollectRows reports the error
	list, err := pgx.CollectRows(rows, pgx.RowToStructByName[passkey])
	if err != nil {
		return nil, fmt.Errorf("list passkeys: %w", err)
	}
	return list, nil
}

func (d db) passkeyHolder(ctx context.Context, id []byte) (mailbox string, err error) {
	err = d.pool.QueryRow(ctx, `SELECT mailbox FROM auth.passkeys WHERE id = $1`, id).Scan(&mailbox)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", errNoPasskey
	}
	if err != nil {
		return "", fmt.Errorf("get passkey: %w", err)
	}
	return mailbox, nil
}

// putPasskey keeps a new passkey, with recovery codes if it is the first second
// factor.
func (d db) putPasskey(ctx context.Context, k passkey, recovery [][]byte) error {
	err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		const q = `
			INSERT INTO auth.passkeys (id, mailbox, name, credential, uses, created_at)
			VALUES (@id, @mailbox, @name, @credential, @uses, @created)`
		_, err := tx.Exec(ctx, q, pgx.NamedArgs{
			"id": k.ID, "mailbox": k.Mailbox, "name": k.Name, "credential": k.Credential, "uses": k.Uses, "created": k.CreatedAt,
		})
		if err != nil {
			return fmt.Errorf("put passkey: %w", err)
		}
		if len(recovery) == 0 {
			return nil
		}
		return putRecoveryCodes(ctx, tx, k.Mailbox, recovery)
	})
	switch {
	case pg.Violates(err, "passkeys_name"):
		return errNameTaken
	case pg.Violates(err, "passkeys_pkey"):
		return errIDTaken
	}
	return err
}

// usePasskey notes that a passkey was used, and says whether its counter has
// moved on, as far as it counts: of two copies used at once one is refused.
func (d db) usePasskey(ctx context.Context, c webauthn.Credential) (bool, error) {
	const q = `
		UPDATE auth.passkeys SET uses = $2, used_at = now()
		WHERE id = $1 AND (uses < $2 OR uses = 0 AND $2 = 0)`
	tag, err := d.pool.Exec(ctx, q, c.ID, int64(c.Authenticator.SignCount))
	if err != nil {
		return false, fmt.Errorf("use passkey: %w", err)
	}
	return tag.RowsAffected() == 1, nil
}

// removePasskey says whether there was such a passkey.
func (d db) removePasskey(ctx context.Context, mailbox string, id []byte, l lives) (found bool, err error) {
	err = pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `DELETE FROM auth.passkeys WHERE mailbox = $1 AND id = $2`, mailbox, id)
		if err != nil {
			return fmt.Errorf("remove passkey: %w", err)
		}
		found = tag.RowsAffected() > 0
		return lostFactor(ctx, tx, mailbox, l)
	})
	return found, err
}
