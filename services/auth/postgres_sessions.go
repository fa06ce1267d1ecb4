package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

var (
	errNoSession = errors.New("no such session")
	errReused    = errors.New("refresh token was used before")
)

const (
	// overlap is how long a refresh token that was used still answers, with
	// the same successor: two processes of one client may renew at once.
	overlap = 10 * time.Second
	// maxSessions bounds the logins of one account; the oldest goes.
	maxSessions = 100
)

// createSession notes a login.
func (d db) createSession(ctx context.Context, a account, id []byte, life time.Duration) error {
	const q = `
		INSERT INTO auth.sessions (namespace, account, id, epoch, expires_at)
		SELECT namespace, id, $3, $4, now() + $5::interval
		FROM auth.accounts
		WHERE namespace = $1 AND id = $2 AND epoch = $4`
	const oldest = `
		DELETE FROM auth.sessions
		WHERE namespace = $1 AND account = $2 AND id IN (
			SELECT id FROM auth.sessions
			WHERE namespace = $1 AND account = $2
			ORDER BY created_at DESC, id
			OFFSET $3)`
	b := &pgx.Batch{}
	b.Queue(q, a.Namespace, a.ID, id, a.Epoch, life)
	b.Queue(oldest, a.Namespace, a.ID, maxSessions)
	if err := d.pool.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("create session: %w", err)
	}
	return nil
}

// rotate spends a refresh token, and answers whose it was and the generation of
// the one that follows. A token that was spent before the overlap ends the
// session: somebody else may have it.
func (d db) rotate(ctx context.Context, id []byte, generation int32) (a account, next int32, err error) {
	var reused bool
	err = pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		s, err := lockSession(ctx, tx, id)
		if err != nil {
			return err
		}
		if a, err = sessionAccount(ctx, tx, s); err != nil {
			return err
		}
		switch {
		case generation == s.Generation:
			const q = `
				UPDATE auth.sessions SET generation = generation + 1, rotated_at = clock_timestamp()
				WHERE namespace = $1 AND account = $2 AND id = $3`
			next = generation + 1
			_, err = tx.Exec(ctx, q, s.Namespace, s.Account, id)
		case generation == s.Generation-1 && s.Age <= overlap:
			next = s.Generation
		default:
			const q = `DELETE FROM auth.sessions WHERE namespace = $1 AND account = $2 AND id = $3`
			reused = true
			_, err = tx.Exec(ctx, q, s.Namespace, s.Account, id)
		}
		if err != nil {
			return fmt.Errorf("rotate session: %w", err)
		}
		return nil
	})
	if err == nil && reused {
		err = errReused
	}
	return a, next, err
}

// session is what rotate must know of a row.
type session struct {
	Namespace  string
	Account    string
	Epoch      int64
	Generation int32
	Age        time.Duration // since the last rotation
}

func lockSession(ctx context.Context, tx pgx.Tx, id []byte) (session, error) {
	const q = `
		SELECT namespace, account, epoch, generation, clock_timestamp() - rotated_at AS age
		FROM auth.sessions
		WHERE id = $1 AND expires_at > now()
		FOR UPDATE`
	rows, _ := tx.Query(ctx, q, id) // CollectExactlyOneRow reports the error
	s, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[session])
	if errors.Is(err, pgx.ErrNoRows) {
		return s, errNoSession
	}
	if err != nil {
		return s, fmt.Errorf("get session: %w", err)
	}
	return s, nil
}

// sessionAccount answers the account of a session, unless its secret has
// changed since.
func sessionAccount(ctx context.Context, tx pgx.Tx, s session) (account, error) {
	const q = `
		SELECT namespace, id, type, name, scopes, metadata, secret, owner, epoch
		FROM auth.accounts
		WHERE namespace = $1 AND id = $2 AND epoch = $3`
	a, err := one(tx.Query(ctx, q, s.Namespace, s.Account, s.Epoch))
	if err == errNoAccount {
		return a, errNoSession
	}
	return a, err
}

// prune removes what has expired.
func (d db) prune(ctx context.Context) error {
	for _, q := range []string{
		`DELETE FROM auth.sessions WHERE expires_at < now()`,
		`DELETE FROM auth.revocations WHERE expires_at < now()`,
	} {
		if _, err := d.pool.Exec(ctx, q); err != nil {
			return fmt.Errorf("prune: %w", err)
		}
	}
	return nil
}
