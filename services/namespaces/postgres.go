package namespaces

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/micro/platform/internal/grants"
	"github.com/micro/platform/internal/mailbox"
	"github.com/micro/platform/internal/pg"
)

type db struct{ pool *pgxpool.Pool }

// namespace is a row of what there is.
type namespace struct {
	Namespace string
	Owner     string
	CreatedAt time.Time
	ActiveAt  *time.Time
}

const namespaceColumns = `SELECT namespace, owner, created_at, active_at FROM namespaces.namespaces `

func (d db) get(ctx context.Context, name string) (namespace, error) {
	return d.one(ctx, namespaceColumns+`WHERE namespace = $1 AND active_at IS NOT NULL`, name)
}

// of answers a membership of a mailbox, or the zero member.
func (d db) of(ctx context.Context, mailbox string) (member, error) {
	all, err := d.memberships(ctx, mailbox)
	if err != nil || len(all) == 0 {
		return member{}, err
	}
	return all[0], nil
}

// errNone is a namespace that is not there.
var errNone = errors.New("no such namespace")

func (d db) one(ctx context.Context, q string, args ...any) (namespace, error) {
	rows, _ := d.pool.Query(ctx, q, args...) // CollectExactlyOneRow reports the error
	n, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[namespace])
	if errors.Is(err, pgx.ErrNoRows) {
		return n, errNone
	}
	if err != nil {
		return n, fmt.Errorf("get namespace: %w", err)
	}
	return n, nil
}

// nameHeld is true of a deletion that keeps others from taking the name.
const nameHeld = `(state <> 'erased' OR coalesce(free_at > now(), true))`

// insertNamespace puts a namespace there, unless its name is held: then it
// touches no row.
const insertNamespace = `
	INSERT INTO namespaces.namespaces (namespace, owner, mailbox, signed_up, active_at, reborn)
	SELECT $1, $2, $3, $4, CASE WHEN $4 THEN NULL ELSE now() END, EXISTS (SELECT FROM namespaces.deletions WHERE namespace = $1)
	WHERE NOT EXISTS (SELECT FROM namespaces.deletions WHERE namespace = $1 AND ` + nameHeld + `)
	RETURNING created_at, reborn`

// putNamespace puts a namespace there. One whose owner signed up is active only
// when auth has the owner.
func putNamespace(ctx context.Context, tx pgx.Tx, n namespace, mailbox string, signedUp bool) (namespace, error) {
	var reborn bool
	err := tx.QueryRow(ctx, insertNamespace, n.Namespace, n.Owner, mailbox, signedUp).Scan(&n.CreatedAt, &reborn)
	if errors.Is(err, pgx.ErrNoRows) {
		return n, errNameTaken
	}
	if err != nil {
		return n, fmt.Errorf("put namespace: %w", err)
	}
	if reborn { // others know the one before
		return n, tell(ctx, tx, n.Namespace)
	}
	return n, nil
}

// taken answers which of some names are.
func (d db) taken(ctx context.Context, names []string) ([]string, error) {
	const q = `
		SELECT namespace FROM namespaces.namespaces WHERE namespace = ANY($1)
		UNION
		SELECT namespace FROM namespaces.deletions WHERE namespace = ANY($1) AND ` + nameHeld + `
		ORDER BY namespace
		LIMIT $2`
	rows, _ := d.pool.Query(ctx, q, names, len(names)) // CollectRows reports the error
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for names: %w", err)
	}
	return found, nil
}

// putCode replaces the code of a mailbox, and has it sent.
func (d db) putCode(ctx context.Context, mailbox string, digest []byte, life time.Duration, send func(pgx.Tx) error) error {
	const q = `
		INSERT INTO namespaces.codes (mailbox, digest, expires_at)
		VALUES ($1, $2, now() + make_interval(secs => $3))
		ON CONFLICT (mailbox) DO UPDATE SET digest = EXCLUDED.digest, attempts = 0, expires_at = EXCLUDED.expires_at`
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, q, mailbox, digest, life.Seconds()); err != nil {
			return fmt.Errorf("put code: %w", err)
		}
		return send(tx)
	})
}

// checkCode says whether a code is good, and counts the attempt if it is not.
// Looking and counting are one statement, so that attempts made at once do not
// pass for one.
func (d db) checkCode(ctx context.Context, mailbox string, digest []byte) (bool, error) {
	const q = `
		UPDATE namespaces.codes
		SET attempts = attempts + CASE WHEN digest = $2 THEN 0 ELSE 1 END
		WHERE mailbox = $1 AND attempts < $3 AND expires_at > now()
		RETURNING digest = $2`
	var good bool
	err := d.pool.QueryRow(ctx, q, mailbox, digest, maxGuesses).Scan(&good)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("check code: %w", err)
	}
	return good, nil
}

// forgetCodes removes those whose time is up, and invitations likewise.
func (d db) forgetCodes(ctx context.Context) error {
	for _, q := range []string{
		`DELETE FROM namespaces.codes WHERE expires_at <= now()`,
		`DELETE FROM namespaces.invites WHERE expires_at <= now()`,
	} {
		if _, err := d.pool.Exec(ctx, q); err != nil {
			return fmt.Errorf("forget codes: %w", err)
		}
	}
	return nil
}

// order is an owner's account that auth has to make.
type order struct {
	Namespace    string
	Account      string
	PasswordHash string
	Mailbox      string
	// The account elsewhere with which the owner signed up, if any.
	Provider, Subject, Email string
}

var (
	errCodeSpent    = errors.New("the code is not good any more")
	errNameTaken    = errors.New("the name is taken")
	errMailboxTaken = errors.New("the mailbox is a member's")
)

// create spends a code, if there is one, and makes a namespace with the order for
// its owner: all of it or nothing.
func (d db) create(ctx context.Context, a mailbox.Address, digest []byte, o order) error {
	err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		if digest != nil {
			if err := spendCode(ctx, tx, a, digest); err != nil {
				return err
			}
		}
		const look = `SELECT EXISTS (SELECT FROM namespaces.members WHERE mailbox = $1)`
		var known bool
		if err := tx.QueryRow(ctx, look, a.Mailbox).Scan(&known); err != nil {
			return fmt.Errorf("look for members: %w", err)
		}
		if known {
			return errMailboxTaken
		}
		if _, err := putNamespace(ctx, tx, namespace{Namespace: o.Namespace, Owner: o.Account}, a.Mailbox, true); err != nil {
			return err
		}
		if err := writeMember(ctx, tx, member{Namespace: o.Namespace, Account: o.Account, Mailbox: a.Mailbox, Role: grants.Owner}); err != nil {
			return err
		}
		const tell = `
			INSERT INTO namespaces.outbox (namespace, account, password_hash, provider, subject, email, next_at)
			VALUES (@namespace, @account, @hash, @provider, @subject, @email, now() + make_interval(secs => @wait))`
		_, err := tx.Exec(ctx, tell, pgx.NamedArgs{"namespace": o.Namespace, "account": o.Account, "hash": o.PasswordHash,
			"provider": o.Provider, "subject": o.Subject, "email": o.Email, "wait": headStart.Seconds()})
		if err != nil {
			return fmt.Errorf("put order: %w", err)
		}
		return nil
	})
	switch {
	case pg.Violates(err, "namespaces_pkey"):
		return errNameTaken
	case pg.Violates(err, "one_per_mailbox"):
		return errMailboxTaken
	}
	return err
}

func spendCode(ctx context.Context, tx pgx.Tx, a mailbox.Address, digest []byte) error {
	const q = `DELETE FROM namespaces.codes WHERE mailbox = $1 AND digest = $2 AND attempts < $3 AND expires_at > now()`
	tag, err := tx.Exec(ctx, q, a.Mailbox, digest, maxGuesses)
	if err != nil {
		return fmt.Errorf("spend code: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return errCodeSpent
	}
	return nil
}

// due answers orders that are to be carried out now, and puts off their next
// attempt, so that no other process takes them too.
func (d db) due(ctx context.Context, limit int) ([]order, error) {
	const q = `
		UPDATE namespaces.outbox
		SET attempts = attempts + 1, next_at = now() + make_interval(secs => least(2 ^ least(attempts, 6), 60))
		WHERE namespace IN (
			SELECT namespace FROM namespaces.outbox
			WHERE next_at <= now()
			ORDER BY next_at, namespace
			LIMIT $1
			FOR UPDATE SKIP LOCKED)
		RETURNING namespace, account, password_hash, provider, subject, email, (SELECT mailbox FROM namespaces.namespaces AS n WHERE n.namespace = outbox.namespace) AS mailbox`
	rows, _ := d.pool.Query(ctx, q, limit) // CollectRows reports the error
	orders, err := pgx.CollectRows(rows, pgx.RowToStructByName[order])
	if err != nil {
		return nil, fmt.Errorf("take orders: %w", err)
	}
	return orders, nil
}

// activate closes an order: the namespace has an owner who can log in.
func (d db) activate(ctx context.Context, name string) error {
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM namespaces.outbox WHERE namespace = $1`, name); err != nil {
			return fmt.Errorf("close order: %w", err)
		}
		const q = `UPDATE namespaces.namespaces SET active_at = coalesce(active_at, now()) WHERE namespace = $1 RETURNING reborn`
		var reborn bool
		err := tx.QueryRow(ctx, q, name).Scan(&reborn)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("activate namespace: %w", err)
		}
		if reborn {
			return tell(ctx, tx, name)
		}
		return nil
	})
}

// undo removes a namespace whose owner cannot be made, with its order.
func (d db) undo(ctx context.Context, name string) error {
	if _, err := d.pool.Exec(ctx, `DELETE FROM namespaces.namespaces WHERE namespace = $1 AND active_at IS NULL`, name); err != nil {
		return fmt.Errorf("undo namespace: %w", err)
	}
	return nil
}

// foundRow is a namespace as operators find it.
type foundRow struct {
	Namespace    string
	Owner        string
	Plan         string
	CreatedAt    time.Time
	SuspendedFor string
	State        string
}

// search answers the namespaces in whose name or owner a text is, by name.
func (d db) search(ctx context.Context, text, after string, limit int) ([]foundRow, error) {
	const q = `
		SELECT n.namespace, n.owner, coalesce(n.plan, '') AS plan, n.created_at,
			CASE WHEN n.suspended_at IS NULL THEN '' ELSE n.suspended_for END AS suspended_for, coalesce(d.state, '') AS state
		FROM namespaces.namespaces AS n
		LEFT JOIN namespaces.deletions AS d ON d.namespace = n.namespace AND d.state <> 'erased'
		WHERE n.namespace > $2 AND n.active_at IS NOT NULL AND (strpos(n.namespace, lower($1)) > 0 OR strpos(n.owner, lower($1)) > 0)
		ORDER BY n.namespace
		LIMIT $3`
	rows, _ := d.pool.Query(ctx, q, text, after, limit) // CollectRows reports the error
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[foundRow])
	if err != nil {
		return nil, fmt.Errorf("search namespaces: %w", err)
	}
	return found, nil
}
