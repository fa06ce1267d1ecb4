package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

var errSpent = errors.New("the code is not good any more")

// putReset replaces the code of a subject, and has it sent.
func (d db) putReset(ctx context.Context, subject, digest []byte, life time.Duration, send func(pgx.Tx) error) error {
	const q = `
		INSERT INTO auth.password_resets (subject, digest, expires_at)
		VALUES ($1, $2, now() + $3::interval)
		ON CONFLICT (subject) DO UPDATE SET digest = excluded.digest, attempts = 0, expires_at = excluded.expires_at`
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, q, subject, digest, life); err != nil {
			return fmt.Errorf("put code: %w", err)
		}
		return send(tx)
	})
}

// checkReset says whether a code is good, and counts the attempt if it is not.
// Looking and counting are one statement, so that attempts made at once do not
// pass for one.
func (d db) checkReset(ctx context.Context, subject, digest []byte) (bool, error) {
	const q = `
		UPDATE auth.password_resets
		SET attempts = attempts + CASE WHEN digest = $2 THEN 0 ELSE 1 END
		WHERE subject = $1 AND attempts < $3 AND expires_at > now()
		RETURNING digest = $2`
	var good bool
	err := d.pool.QueryRow(ctx, q, subject, digest, resetGuesses).Scan(&good)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("check code: %w", err)
	}
	return good, nil
}

// spendReset takes a code that is still good; of two at once one gets it.
func spendReset(ctx context.Context, tx pgx.Tx, subject, digest []byte) error {
	const q = `DELETE FROM auth.password_resets WHERE subject = $1 AND digest = $2 AND attempts < $3 AND expires_at > now()`
	tag, err := tx.Exec(ctx, q, subject, digest, resetGuesses)
	if err != nil {
		return fmt.Errorf("spend code: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return errSpent
	}
	return nil
}
