package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

var (
	errNoLink = errors.New("no such link")
	errLinked = errors.New("linked to somebody else")
)

// link is a row of auth.links.
type link struct {
	Provider, Subject, Mailbox, Email string
	CreatedAt                         time.Time
	UsedAt                            *time.Time
}

const linkColumns = `SELECT provider, subject, mailbox, email, created_at, used_at FROM auth.links `

func (d db) link(ctx context.Context, provider, subject string) (link, error) {
	rows, _ := d.pool.Query(ctx, linkColumns+`WHERE provider = $1 AND subject = $2`, provider, subject) // CollectExactlyOneRow reports the error
	l, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[link])
	if errors.Is(err, pgx.ErrNoRows) {
		return l, errNoLink
	}
	if err != nil {
		return l, fmt.Errorf("get link: %w", err)
	}
	return l, nil
}

// links answers those of a person, by provider.
func (d db) links(ctx context.Context, mailbox string) ([]link, error) {
	rows, _ := d.pool.Query(ctx, linkColumns+`WHERE mailbox = $1 ORDER BY provider, subject LIMIT $2`, mailbox, maxListed) // CollectRows reports the error
	list, err := pgx.CollectRows(rows, pgx.RowToStructByName[link])
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	return list, nil
}

// signsIn answers the account that a ticket is for, and whether the person has
// linked it; else the person has only the same mailbox. errNoAccount is nobody.
func (d db) signsIn(ctx context.Context, t ticket) (a account, linked bool, err error) {
	l, err := d.link(ctx, t.Provider, t.Subject)
	if err == nil {
		a, err = d.accountOf(ctx, l.Mailbox)
		return a, true, err
	}
	if err != errNoLink {
		return a, false, err
	}
	a, err = d.accountOf(ctx, t.Mailbox)
	return a, false, err
}

// accountOf answers the account that a person logs in to who names no namespace:
// one that owns its namespace, if there is such, and the oldest.
func (d db) accountOf(ctx context.Context, mailbox string) (account, error) {
	const q = accountColumns + `
		WHERE a.person = $1
		ORDER BY a.owner DESC, a.created_at, a.namespace, a.id
		LIMIT 1`
	return one(d.pool.Query(ctx, q, mailbox))
}

// putLink links an account elsewhere with a person, and notes that it was used;
// errLinked if it is somebody else's.
func (d db) putLink(ctx context.Context, t ticket, mailbox string) error {
	return putLink(ctx, d.pool, t, mailbox)
}

func putLink(ctx context.Context, c execer, t ticket, mailbox string) error {
	const q = `
		INSERT INTO auth.links AS old (provider, subject, mailbox, email, used_at) VALUES ($1, $2, $3, $4, now())
		ON CONFLICT (provider, subject) DO UPDATE SET used_at = now()
		WHERE old.mailbox = excluded.mailbox`
	tag, err := c.Exec(ctx, q, t.Provider, t.Subject, mailbox, t.Email)
	if err != nil {
		return fmt.Errorf("put link: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return errLinked
	}
	return nil
}

func (d db) removeLink(ctx context.Context, mailbox, provider, subject string) (bool, error) {
	tag, err := d.pool.Exec(ctx, `DELETE FROM auth.links WHERE mailbox = $1 AND provider = $2 AND subject = $3`, mailbox, provider, subject)
	if err != nil {
		return false, fmt.Errorf("remove link: %w", err)
	}
	return tag.RowsAffected() > 0, nil
}
