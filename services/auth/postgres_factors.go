package auth

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// putFactor keeps the secret of an authenticator that is still to be confirmed.
func (d db) putFactor(ctx context.Context, mailbox string, sealed []byte) error {
	const q = `UPDATE auth.people SET factor = $2, factor_step = 0 WHERE mailbox = $1 AND factor_since IS NULL`
	if _, err := d.pool.Exec(ctx, q, mailbox, sealed); err != nil {
		return fmt.Errorf("put second factor: %w", err)
	}
	return nil
}

// confirmFactor turns a second factor on; errNoPerson if it is another one by
// now.
func (d db) confirmFactor(ctx context.Context, p person, digests [][]byte) error {
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		const q = `UPDATE auth.people SET factor_since = now() WHERE mailbox = $1 AND factor = $2 AND factor_since IS NULL`
		tag, err := tx.Exec(ctx, q, p.Mailbox, p.Factor)
		if err != nil {
			return fmt.Errorf("confirm second factor: %w", err)
		}
		if tag.RowsAffected() == 0 {
			return errNoPerson
		}
		return putRecoveryCodes(ctx, tx, p.Mailbox, digests)
	})
}

func putRecoveryCodes(ctx context.Context, tx pgx.Tx, mailbox string, digests [][]byte) error {
	if _, err := tx.Exec(ctx, `DELETE FROM auth.recovery_codes WHERE mailbox = $1`, mailbox); err != nil {
		return fmt.Errorf("remove recovery codes: %w", err)
	}
	const q = `INSERT INTO auth.recovery_codes (mailbox, digest) SELECT $1, unnest($2::bytea[])`
	if _, err := tx.Exec(ctx, q, mailbox, digests); err != nil {
		return fmt.Errorf("put recovery codes: %w", err)
	}
	return nil
}

func (d db) replaceRecoveryCodes(ctx context.Context, mailbox string, digests [][]byte) error {
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error { return putRecoveryCodes(ctx, tx, mailbox, digests) })
}

func (d db) recoveryCodesLeft(ctx context.Context, mailbox string) (n int32, err error) {
	if err := d.pool.QueryRow(ctx, `SELECT count(*) FROM auth.recovery_codes WHERE mailbox = $1`, mailbox).Scan(&n); err != nil {
		return 0, fmt.Errorf("count recovery codes: %w", err)
	}
	return n, nil
}

// spendRecoveryCode says whether a code was good; of two uses at once one is.
func (d db) spendRecoveryCode(ctx context.Context, mailbox string, digest []byte) (bool, error) {
	tag, err := d.pool.Exec(ctx, `DELETE FROM auth.recovery_codes WHERE mailbox = $1 AND digest = $2`, mailbox, digest)
	if err != nil {
		return false, fmt.Errorf("spend recovery code: %w", err)
	}
	return tag.RowsAffected() == 1, nil
}

// spendStep says whether no code of this step of time, or a later one, was used
// before.
func (d db) spendStep(ctx context.Context, mailbox string, step int64) (bool, error) {
	tag, err := d.pool.Exec(ctx, `UPDATE auth.people SET factor_step = $2 WHERE mailbox = $1 AND factor_step < $2`, mailbox, step)
	if err != nil {
		return false, fmt.Errorf("spend code: %w", err)
	}
	return tag.RowsAffected() == 1, nil
}

// removeFactor turns the authenticator off. Where a namespace wants a second
// factor, access tokens that say otherwise are refused.
func (d db) removeFactor(ctx context.Context, mailbox string, l lives) error {
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		const q = `UPDATE auth.people SET factor = NULL, factor_since = NULL, factor_step = 0 WHERE mailbox = $1`
		if _, err := tx.Exec(ctx, q, mailbox); err != nil {
			return fmt.Errorf("remove second factor: %w", err)
		}
		return lostFactor(ctx, tx, mailbox, l)
	})
}

// lostFactor removes what goes with the last second factor of a person, if there
// is none left.
func lostFactor(ctx context.Context, tx pgx.Tx, mailbox string, l lives) error {
	all, err := accountsOf(ctx, tx, mailbox)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(all, func(a account) bool { return a.Enrolled }) {
		return nil
	}
	if err := putRecoveryCodes(ctx, tx, mailbox, nil); err != nil {
		return err
	}
	for _, a := range all {
		if !a.Demanded {
			continue
		}
		if err := refresh(ctx, tx, a, l); err != nil {
			return err
		}
	}
	return nil
}
