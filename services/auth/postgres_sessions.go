package auth

import (
	"bytes"
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
func (d db) rotate(ctx context.Context, id []byte, generation int32, l lives) (a account, next int32, err error) {
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
			reused = true
			err = endSession(ctx, tx, s, id, l.of(a.Type))
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
	const q = accountColumns + `WHERE a.namespace = $1 AND a.id = $2 AND a.epoch = $3`
	a, err := one(tx.Query(ctx, q, s.Namespace, s.Account, s.Epoch))
	if err == errNoAccount {
		return a, errNoSession
	}
	return a, err
}

// endSession ends a login and refuses its access tokens.
func endSession(ctx context.Context, tx pgx.Tx, s session, id []byte, longest time.Duration) error {
	const q = `DELETE FROM auth.sessions WHERE namespace = $1 AND account = $2 AND id = $3`
	if _, err := tx.Exec(ctx, q, s.Namespace, s.Account, id); err != nil {
		return fmt.Errorf("end session: %w", err)
	}
	return revokeSession(ctx, tx, s.Namespace, sessionText(id), longest)
}

// endSession ends a login; errNoSession if it has ended.
func (d db) endSession(ctx context.Context, id []byte, l lives) error {
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		s, err := lockSession(ctx, tx, id)
		if err != nil {
			return err
		}
		a, err := sessionAccount(ctx, tx, s)
		if err != nil {
			return err
		}
		return endSession(ctx, tx, s, id, l.of(a.Type))
	})
}

// endSessionOf is endSession for a login that must be that account's.
func (d db) endSessionOf(ctx context.Context, namespace, id string, session []byte, l lives) error {
	const q = `SELECT EXISTS (SELECT FROM auth.sessions WHERE namespace = $1 AND account = $2 AND id = $3)`
	var there bool
	if err := d.pool.QueryRow(ctx, q, namespace, id, session).Scan(&there); err != nil {
		return fmt.Errorf("get session: %w", err)
	}
	if !there {
		return errNoSession
	}
	return d.endSession(ctx, session, l)
}

// endOtherSessions ends all logins of an account but one.
func (d db) endOtherSessions(ctx context.Context, namespace, id string, keep []byte, l lives) error {
	list, err := d.listSessions(ctx, namespace, id)
	if err != nil {
		return err
	}
	for _, s := range list { // at most maxSessions
		if bytes.Equal(s.ID, keep) {
			continue
		}
		if err := d.endSession(ctx, s.ID, l); err != nil && err != errNoSession {
			return err
		}
	}
	return nil
}

// login is a session as its account sees it.
type login struct {
	ID        []byte
	CreatedAt time.Time
	RotatedAt time.Time
	ExpiresAt time.Time
}

func (d db) listSessions(ctx context.Context, namespace, id string) ([]login, error) {
	const q = `
		SELECT id, created_at, rotated_at, expires_at
		FROM auth.sessions
		WHERE namespace = $1 AND account = $2 AND expires_at > now()
		ORDER BY created_at DESC, id
		LIMIT $3`
	rows, _ := d.pool.Query(ctx, q, namespace, id, maxSessions) // CollectRows reports the error
	list, err := pgx.CollectRows(rows, pgx.RowToStructByName[login])
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return list, nil
}

// prune removes what has expired.
func (d db) prune(ctx context.Context) error {
	for _, q := range []string{
		`DELETE FROM auth.sessions WHERE expires_at < now()`,
		`DELETE FROM auth.revocations WHERE expires_at < now()`,
		`DELETE FROM auth.session_revocations WHERE expires_at < now()`,
		`DELETE FROM auth.password_resets WHERE expires_at < now()`,
		`DELETE FROM auth.gone_services WHERE expires_at < now()`,
		`DELETE FROM auth.erased WHERE expires_at < now()`,
		`DELETE FROM auth.api_tokens WHERE expires_at < now() - interval '30 days'`, // until then the list says why it fails
	} {
		if _, err := d.pool.Exec(ctx, q); err != nil {
			return fmt.Errorf("prune: %w", err)
		}
	}
	return nil
}
