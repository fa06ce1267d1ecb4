package namespaces

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/micro/platform/internal/grants"
)

// invite is a row of namespaces.invites, without the digest.
type invite struct {
	Namespace string
	ID        string
	Mailbox   string
	Address   string
	Role      grants.Role
	InvitedBy string
	CreatedAt time.Time
	ExpiresAt time.Time
}

const inviteColumns = `SELECT namespace, id, mailbox, address, role, invited_by, created_at, expires_at FROM namespaces.invites `

func (d db) oneInvite(ctx context.Context, q string, args ...any) (invite, error) {
	rows, _ := d.pool.Query(ctx, inviteColumns+q, args...) // CollectExactlyOneRow reports the error
	i, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[invite])
	if errors.Is(err, pgx.ErrNoRows) {
		return i, errNone
	}
	if err != nil {
		return i, fmt.Errorf("get invite: %w", err)
	}
	return i, nil
}

// inviteOf answers the invitation that a code is for.
func (d db) inviteOf(ctx context.Context, digest []byte) (invite, error) {
	return d.oneInvite(ctx, `WHERE digest = $1 AND expires_at > now()`, digest)
}

func (d db) invite(ctx context.Context, namespace, id string) (invite, error) {
	return d.oneInvite(ctx, `WHERE namespace = $1 AND id = $2 AND expires_at > now()`, namespace, id)
}

func (d db) invites(ctx context.Context, namespace string) ([]invite, error) {
	rows, _ := d.pool.Query(ctx, inviteColumns+`WHERE namespace = $1 AND expires_at > now() ORDER BY id`, namespace) // CollectRows reports the error
	list, err := pgx.CollectRows(rows, pgx.RowToStructByName[invite])
	if err != nil {
		return nil, fmt.Errorf("list invites: %w", err)
	}
	return list, nil
}

// putInvite keeps an invitation in the place of an earlier one to the same
// mailbox.
func putInvite(ctx context.Context, tx pgx.Tx, i invite, digest []byte) (invite, error) {
	const q = `
		INSERT INTO namespaces.invites (namespace, id, mailbox, address, role, digest, invited_by, expires_at)
		VALUES (@namespace, @id, @mailbox, @address, @role, @digest, @invited_by, now() + @life::interval)
		ON CONFLICT (namespace, mailbox) DO UPDATE
		SET id = excluded.id, address = excluded.address, role = excluded.role, digest = excluded.digest,
			invited_by = excluded.invited_by, created_at = now(), expires_at = excluded.expires_at
		RETURNING created_at, expires_at`
	err := tx.QueryRow(ctx, q, pgx.NamedArgs{
		"namespace": i.Namespace, "id": i.ID, "mailbox": i.Mailbox, "address": i.Address, "role": i.Role, "digest": digest,
		"invited_by": i.InvitedBy, "life": inviteLife,
	}).Scan(&i.CreatedAt, &i.ExpiresAt)
	if err != nil {
		return i, fmt.Errorf("put invite: %w", err)
	}
	return i, nil
}

// openInvites counts those of a namespace, but the one to a mailbox.
func openInvites(ctx context.Context, tx pgx.Tx, namespace, but string) (int, error) {
	const q = `SELECT count(*) FROM namespaces.invites WHERE namespace = $1 AND mailbox <> $2 AND expires_at > now()`
	var n int
	if err := tx.QueryRow(ctx, q, namespace, but).Scan(&n); err != nil {
		return 0, fmt.Errorf("count invites: %w", err)
	}
	return n, nil
}

// spendInvite takes an invitation that is still good; of two at once one gets
// it.
func spendInvite(ctx context.Context, tx pgx.Tx, i invite, digest []byte) (bool, error) {
	const q = `DELETE FROM namespaces.invites WHERE namespace = $1 AND id = $2 AND digest = $3 AND expires_at > now()`
	tag, err := tx.Exec(ctx, q, i.Namespace, i.ID, digest)
	if err != nil {
		return false, fmt.Errorf("spend invite: %w", err)
	}
	return tag.RowsAffected() == 1, nil
}

func removeInvite(ctx context.Context, tx pgx.Tx, namespace, id string) (bool, error) {
	tag, err := tx.Exec(ctx, `DELETE FROM namespaces.invites WHERE namespace = $1 AND id = $2`, namespace, id)
	if err != nil {
		return false, fmt.Errorf("remove invite: %w", err)
	}
	return tag.RowsAffected() == 1, nil
}
