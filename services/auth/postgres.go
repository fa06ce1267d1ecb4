package auth

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pg"
)

// db is every SQL statement of the service; those on sessions are in
// the files postgres_*.go by noun.
type db struct{ pool *pgxpool.Pool }

// What the database decided. Callers compare with ==.
var (
	errNoAccount = errors.New("no such account")
	errIDTaken   = errors.New("id is taken")
	errNameTaken = errors.New("name is taken")
	errTooMany   = errors.New("too many")
)

// channel is where changes are notified.
const channel = "auth_changes"

// createAccount makes an account, in a namespace that has fewer than limit.
func (d db) createAccount(ctx context.Context, a account, limit int) error {
	const q = `
		INSERT INTO auth.accounts (namespace, id, type, name, scopes, metadata, secret, owner)
		SELECT @namespace, @id, @type, @name, @scopes, @metadata, @secret, @owner
		WHERE (SELECT count(*) FROM auth.accounts WHERE namespace = @namespace) < @limit`
	tag, err := d.pool.Exec(ctx, q, pgx.NamedArgs{
		"namespace": a.Namespace, "id": a.ID, "type": a.Type, "name": a.Name, "scopes": a.Scopes,
		"metadata": a.Metadata, "secret": a.Secret, "owner": a.Owner, "limit": limit,
	})
	switch {
	case pg.Violates(err, "accounts_pkey"):
		return errIDTaken
	case pg.Violates(err, "accounts_name"):
		return errNameTaken
	case err != nil:
		return fmt.Errorf("create account: %w", err)
	case tag.RowsAffected() == 0:
		return errTooMany
	}
	return nil
}

// enrolled says whether the person p has a second factor.
const enrolled = `(p.factor_since IS NOT NULL OR EXISTS (SELECT FROM auth.passkeys AS k WHERE k.mailbox = p.mailbox))`

// accountColumns answers accounts, with what those of people share.
const accountColumns = `
	SELECT a.namespace, a.id, a.type, a.name, a.scopes, a.metadata, coalesce(p.secret, a.secret) AS secret, a.owner, a.epoch,
		coalesce(a.person, '') AS person, ` + enrolled + ` AS enrolled, coalesce(o.second_factor, false) AS demanded
	FROM auth.accounts AS a
	LEFT JOIN auth.people AS p ON p.mailbox = a.person
	LEFT JOIN auth.policies AS o ON o.namespace = a.namespace `

func (d db) account(ctx context.Context, namespace, id string) (account, error) {
	const q = accountColumns + `WHERE a.namespace = $1 AND a.id = $2`
	return one(d.pool.Query(ctx, q, namespace, id))
}

// accountOrName finds an account by its id or, where none has it, by its name.
func (d db) accountOrName(ctx context.Context, namespace, id string) (account, error) {
	const q = accountColumns + `
		WHERE a.namespace = $1 AND (a.id = $2 OR a.name = $2)
		ORDER BY a.id = $2 DESC
		LIMIT 1`
	return one(d.pool.Query(ctx, q, namespace, id))
}

// person finds a person's account by id in whatever namespace it is. Of the
// accounts of one person it is one that owns its namespace, if there is such, and
// the oldest. Of others it is the only account of that id, so that none is taken
// for another's. Addresses are kept in lower case.
func (d db) person(ctx context.Context, id string) (account, error) {
	const q = accountColumns + `
		WHERE a.type = 'user' AND a.id IN ($1, lower($1)) AND a.namespace <> $2
		ORDER BY a.person IS NOT NULL DESC, a.owner DESC, a.created_at, a.namespace, a.id
		LIMIT 2`
	rows, _ := d.pool.Query(ctx, q, id, identity.Platform) // CollectRows reports the error
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[account])
	if err != nil {
		return account{}, fmt.Errorf("find person: %w", err)
	}
	if len(found) == 1 || len(found) == 2 && (found[0].Person != "" || found[0].Owner) {
		return found[0], nil
	}
	return account{}, errNoAccount
}

func one(rows pgx.Rows, _ error) (account, error) { // CollectExactlyOneRow reports the error
	a, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[account])
	if errors.Is(err, pgx.ErrNoRows) {
		return account{}, errNoAccount
	}
	if err != nil {
		return account{}, fmt.Errorf("get account: %w", err)
	}
	return a, nil
}

func (d db) listAccounts(ctx context.Context, namespace string, limit int) ([]account, error) {
	const q = accountColumns + `
		WHERE a.namespace = $1
		ORDER BY a.id
		LIMIT $2`
	rows, _ := d.pool.Query(ctx, q, namespace, limit) // CollectRows reports the error
	list, err := pgx.CollectRows(rows, pgx.RowToStructByName[account])
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	return list, nil
}

// deleteAccount removes an account and refuses its tokens.
func (d db) deleteAccount(ctx context.Context, a account, l lives) error {
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error { return removeAccount(ctx, tx, a, l) })
}

func removeAccount(ctx context.Context, tx pgx.Tx, a account, l lives) error {
	const q = `DELETE FROM auth.accounts WHERE namespace = $1 AND id = $2`
	tag, err := tx.Exec(ctx, q, a.Namespace, a.ID)
	if err != nil {
		return fmt.Errorf("delete account: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return errNoAccount
	}
	return revoke(ctx, tx, a, "", l)
}

// changeSecret replaces the secret that the account had when it was read: of
// two changes at once one fails. All logins of the account are over but kept,
// if that is one. first comes before all that in the same transaction; it may be
// nil.
func (d db) changeSecret(ctx context.Context, a account, hash, kept string, l lives, first func(pgx.Tx) error) error {
	id, err := hex.DecodeString(kept)
	if err != nil { // an API token's, which are no logins
		kept = ""
	}
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		if first != nil {
			if err := first(tx); err != nil {
				return err
			}
		}
		all, err := putSecret(ctx, tx, a, hash)
		if err != nil {
			return err
		}
		for _, each := range all {
			const others = `DELETE FROM auth.sessions WHERE namespace = $1 AND account = $2 AND id <> $3`
			if _, err := tx.Exec(ctx, others, each.Namespace, each.ID, id); err != nil {
				return fmt.Errorf("end sessions: %w", err)
			}
			if err := revoke(ctx, tx, each, kept, l); err != nil {
				return err
			}
		}
		return keepSessions(ctx, tx, a, id)
	})
}

// putSecret replaces the secret of an account, or of its person, and answers
// whose logins that ends.
func putSecret(ctx context.Context, tx pgx.Tx, a account, hash string) ([]account, error) {
	q := `UPDATE auth.accounts SET secret = $3 WHERE namespace = $1 AND id = $2 AND epoch = $4`
	if a.Person != "" {
		q = `
			UPDATE auth.people AS p SET secret = $3
			FROM auth.accounts AS a
			WHERE a.namespace = $1 AND a.id = $2 AND a.epoch = $4 AND p.mailbox = a.person`
	}
	tag, err := tx.Exec(ctx, q, a.Namespace, a.ID, hash, a.Epoch)
	if err != nil {
		return nil, fmt.Errorf("change secret: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return nil, errNoAccount
	}
	if a.Person == "" {
		return []account{a}, nil
	}
	return accountsOf(ctx, tx, a.Person)
}

// keepSessions moves the logins of an account that are left into its epoch, all
// of them or one.
func keepSessions(ctx context.Context, tx pgx.Tx, a account, one []byte) error {
	const q = `
		UPDATE auth.sessions AS s SET epoch = a.epoch
		FROM auth.accounts AS a
		WHERE s.namespace = $1 AND s.account = $2 AND ($3::bytea IS NULL OR s.id = $3) AND a.namespace = $1 AND a.id = $2`
	if _, err := tx.Exec(ctx, q, a.Namespace, a.ID, one); err != nil {
		return fmt.Errorf("keep sessions: %w", err)
	}
	return nil
}

// revoke moves an account's epoch on and tells everybody. The tokens of the login
// kept stay good.
func revoke(ctx context.Context, tx pgx.Tx, a account, kept string, l lives) error {
	const q = `
		WITH epoch AS (SELECT nextval('auth.epochs') AS next),
		moved AS (UPDATE auth.accounts SET epoch = epoch.next FROM epoch WHERE namespace = $1 AND id = $2)
		INSERT INTO auth.revocations (namespace, account, epoch, expires_at, service, kept_session)
		SELECT $1, $2, next, now() + $3::interval, $4, $5 FROM epoch
		ON CONFLICT (namespace, account) DO UPDATE
		SET epoch = excluded.epoch, expires_at = greatest(revocations.expires_at, excluded.expires_at),
			service = excluded.service AND revocations.service, revoked_at = now(), kept_session = excluded.kept_session
		RETURNING epoch, expires_at, service`
	n := revocationNotice{Namespace: a.Namespace, Account: a.ID, Kept: kept}
	var expires time.Time
	err := tx.QueryRow(ctx, q, a.Namespace, a.ID, l.of(a.Type), a.Type == identity.Service, kept).Scan(&n.Epoch, &expires, &n.Service)
	if err != nil {
		return fmt.Errorf("revoke tokens: %w", err)
	}
	n.Expires = expires.Unix()
	return notify(ctx, tx, notice{Revocation: &n})
}

// notify tells every process when tx commits.
func notify(ctx context.Context, tx pgx.Tx, n notice) error {
	payload, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("write notification: %w", err)
	}
	if _, err := tx.Exec(ctx, "SELECT pg_notify($1, $2)", channel, string(payload)); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	return nil
}
