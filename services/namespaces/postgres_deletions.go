package namespaces

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// deletion is a row of namespaces.deletions with its erasures.
type deletion struct {
	Namespace  string
	State      string
	Account    string
	Operator   bool
	Reason     string
	DeletedAt  time.Time
	EraseAt    time.Time
	SettledAt  *time.Time
	ErasedAt   *time.Time
	FreeAt     *time.Time
	Components []erasure
}

// erasure is how far a component has come.
type erasure struct {
	Component  string     `json:"component"`
	StartedAt  time.Time  `json:"started_at"`
	Calls      int64      `json:"calls"`
	DoneAt     *time.Time `json:"done_at"`
	VerifiedAt *time.Time `json:"verified_at"`
	Error      string     `json:"error"`
}

const deletionColumns = `namespace, state, account, operator, reason, deleted_at, erase_at, settled_at, erased_at, free_at,
	coalesce((SELECT jsonb_agg(jsonb_build_object('component', e.component, 'started_at', e.started_at, 'calls', e.calls,
			'done_at', e.done_at, 'verified_at', e.verified_at, 'error', e.error) ORDER BY e.started_at, e.component)
		FROM namespaces.erasures AS e WHERE e.namespace = deletions.namespace), '[]') AS components `

const selectDeletion = `SELECT ` + deletionColumns + `FROM namespaces.deletions `

func oneDeletion(rows pgx.Rows) (deletion, error) {
	d, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[deletion])
	if errors.Is(err, pgx.ErrNoRows) {
		return d, errNone
	}
	if err != nil {
		return d, fmt.Errorf("get deletion: %w", err)
	}
	return d, nil
}

func (d db) deletion(ctx context.Context, namespace string) (deletion, error) {
	rows, _ := d.pool.Query(ctx, selectDeletion+`WHERE namespace = $1`, namespace) // oneDeletion reports the error
	return oneDeletion(rows)
}

// deletions answers those after a name, by name.
func (d db) deletions(ctx context.Context, after string, limit int) ([]deletion, error) {
	rows, _ := d.pool.Query(ctx, selectDeletion+`WHERE namespace > $1 ORDER BY namespace LIMIT $2`, after, limit) // CollectRows reports the error
	list, err := pgx.CollectRows(rows, pgx.RowToStructByName[deletion])
	if err != nil {
		return nil, fmt.Errorf("list deletions: %w", err)
	}
	return list, nil
}

// delete stops a namespace, if it is not stopped so already, and has told called
// in the same transaction. allowed is asked with the members while nobody changes
// them.
func (d db) delete(ctx context.Context, x deletion, undo time.Duration, told func(pgx.Tx, *roster, deletion) error, allowed func(*roster) error) (made deletion, err error) {
	const put = `
		INSERT INTO namespaces.deletions AS old (namespace, state, account, operator, reason, erase_at, warn_at)
		VALUES (@namespace, 'deleting', @account, @operator, @reason, now() + @undo::interval, now() + @warn::interval)
		ON CONFLICT (namespace) DO UPDATE
		SET state = excluded.state, account = excluded.account, operator = excluded.operator, reason = excluded.reason,
			deleted_at = now(), erase_at = excluded.erase_at, warn_at = excluded.warn_at,
			next_at = null, settled_at = null, erased_at = null, free_at = null
		WHERE old.state = 'erased'`
	const forget = `DELETE FROM namespaces.erasures WHERE namespace = $1` // of another one of this name
	_, err = d.changeMembersWith(ctx, x.Namespace, func(tx pgx.Tx, r *roster) error {
		if err := allowed(r); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, put, pgx.NamedArgs{
			"namespace": x.Namespace, "account": x.Account, "operator": x.Operator, "reason": x.Reason,
			"undo": undo, "warn": undo - min(warnBefore, undo/2),
		})
		if err != nil {
			return fmt.Errorf("delete namespace: %w", err)
		}
		is := tag.RowsAffected() == 0
		if !is {
			if _, err := tx.Exec(ctx, forget, x.Namespace); err != nil {
				return fmt.Errorf("forget erasures: %w", err)
			}
		}
		rows, _ := tx.Query(ctx, selectDeletion+`WHERE namespace = $1`, x.Namespace) // oneDeletion reports the error
		if made, err = oneDeletion(rows); err != nil || is {
			return err
		}
		if err := told(tx, r, made); err != nil {
			return err
		}
		return tell(ctx, tx, x.Namespace)
	})
	return made, err
}

// undelete takes a deletion back, if nothing was erased yet.
func (d db) undelete(ctx context.Context, namespace string, allowed func(*roster) error) error {
	const q = `DELETE FROM namespaces.deletions WHERE namespace = $1 AND state = 'deleting'`
	_, err := d.changeMembersWith(ctx, namespace, func(tx pgx.Tx, r *roster) error {
		if err := allowed(r); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, q, namespace); err != nil {
			return fmt.Errorf("undelete namespace: %w", err)
		}
		return tell(ctx, tx, namespace)
	})
	return err
}

// warn has told called with each deletion whose owners are to be mailed now, in
// a transaction of its own, and says whether there was one.
func (d db) warn(ctx context.Context, told func(pgx.Tx, []member, deletion) error) (found bool, err error) {
	const q = `
		UPDATE namespaces.deletions SET warn_at = null
		WHERE namespace = (
			SELECT namespace FROM namespaces.deletions
			WHERE state = 'deleting' AND warn_at <= now()
			ORDER BY warn_at, namespace
			LIMIT 1
			FOR UPDATE SKIP LOCKED)
		RETURNING ` + deletionColumns
	err = pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		rows, _ := tx.Query(ctx, q) // oneDeletion reports the error
		x, err := oneDeletion(rows)
		if errors.Is(err, errNone) {
			return nil
		}
		if err != nil {
			return err
		}
		found = true
		rows, _ = tx.Query(ctx, memberColumns+`WHERE namespace = $1 AND role = 'owner' ORDER BY account`, x.Namespace) // collectMembers reports the error
		list, err := collectMembers(rows)
		if err != nil {
			return err
		}
		return told(tx, list, x)
	})
	return found, err
}

// begin turns a deletion whose time is up into an erasure. From then on nobody
// is a member, and for others the namespace is not there.
func (d db) begin(ctx context.Context) (name string, err error) {
	const due = `
		SELECT namespace FROM namespaces.deletions
		WHERE state = 'deleting' AND erase_at <= now()
		ORDER BY erase_at, namespace
		LIMIT 1`
	const lock = `SELECT FROM namespaces.namespaces WHERE namespace = $1 FOR UPDATE` // first, as Undelete does
	const next = `
		UPDATE namespaces.deletions SET state = 'erasing', next_at = now()
		WHERE namespace = $1 AND state = 'deleting' AND erase_at <= now()`
	err = pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, due).Scan(&name)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("find what is to be erased: %w", err)
		}
		if _, err := tx.Exec(ctx, lock, name); err != nil {
			return fmt.Errorf("lock namespace: %w", err)
		}
		tag, err := tx.Exec(ctx, next, name)
		if err != nil {
			return fmt.Errorf("begin erasure: %w", err)
		}
		if tag.RowsAffected() == 0 { // undeleted, or begun by another process
			return nil
		}
		for _, q := range []string{
			`UPDATE namespaces.namespaces SET active_at = null, signed_up = false WHERE namespace = $1`,
			`DELETE FROM namespaces.members WHERE namespace = $1`,
			`DELETE FROM namespaces.invites WHERE namespace = $1`,
			`DELETE FROM namespaces.imports WHERE namespace = $1`,
			`DELETE FROM namespaces.member_orders WHERE namespace = $1`,
			`DELETE FROM namespaces.outbox WHERE namespace = $1`,
		} {
			if _, err := tx.Exec(ctx, q, name); err != nil {
				return fmt.Errorf("close namespace: %w", err)
			}
		}
		return tell(ctx, tx, name)
	})
	return name, err
}

// take answers an erasure to go on with, which is this process's for a while.
func (d db) take(ctx context.Context, lease time.Duration) (deletion, error) {
	const q = `
		UPDATE namespaces.deletions SET next_at = now() + $1::interval
		WHERE namespace = (
			SELECT namespace FROM namespaces.deletions
			WHERE state = 'erasing' AND next_at <= now()
			ORDER BY next_at, namespace
			LIMIT 1
			FOR UPDATE SKIP LOCKED)
		RETURNING ` + deletionColumns
	rows, _ := d.pool.Query(ctx, q, lease) // oneDeletion reports the error
	return oneDeletion(rows)
}

// leave gives an erasure back, to be taken again after a while.
func (d db) leave(ctx context.Context, namespace string, wait time.Duration) error {
	const q = `UPDATE namespaces.deletions SET next_at = now() + $2::interval WHERE namespace = $1 AND state = 'erasing'`
	if _, err := d.pool.Exec(ctx, q, namespace, wait); err != nil {
		return fmt.Errorf("leave erasure: %w", err)
	}
	return nil
}

// called notes a call to a component, and how it ended.
func (d db) called(ctx context.Context, namespace, component string, verifying, done bool, failure string) error {
	const q = `
		INSERT INTO namespaces.erasures AS old (namespace, component, calls, done_at, verified_at, error)
		VALUES (@namespace, @component, 1, CASE WHEN @done THEN now() END, CASE WHEN @done AND @verifying THEN now() END, @error)
		ON CONFLICT (namespace, component) DO UPDATE
		SET calls = old.calls + 1, done_at = coalesce(old.done_at, excluded.done_at),
			verified_at = coalesce(old.verified_at, excluded.verified_at), error = excluded.error`
	_, err := d.pool.Exec(ctx, q, pgx.NamedArgs{
		"namespace": namespace, "component": component, "verifying": verifying, "done": done, "error": failure,
	})
	if err != nil {
		return fmt.Errorf("note a call to %s: %w", component, err)
	}
	return nil
}

// settle says that every component has erased once. What comes late after that
// has until the time that it sets.
func (d db) settle(ctx context.Context, namespace string, wait time.Duration) error {
	const q = `
		UPDATE namespaces.deletions SET settled_at = now() + $2::interval, next_at = now() + $2::interval
		WHERE namespace = $1 AND settled_at IS NULL`
	if _, err := d.pool.Exec(ctx, q, namespace, wait); err != nil {
		return fmt.Errorf("let erasure settle: %w", err)
	}
	return nil
}

// finish removes the namespace itself. Its name is not free for a while, or for
// ever where that is 0.
func (d db) finish(ctx context.Context, namespace string, quarantine time.Duration) error {
	const q = `
		UPDATE namespaces.deletions
		SET state = 'erased', next_at = null, erased_at = now(), free_at = CASE WHEN $2::interval > '0' THEN now() + $2::interval END
		WHERE namespace = $1 AND state = 'erasing'`
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, q, namespace, quarantine); err != nil {
			return fmt.Errorf("finish erasure: %w", err)
		}
		if _, err := tx.Exec(ctx, `DELETE FROM namespaces.namespaces WHERE namespace = $1 AND active_at IS NULL`, namespace); err != nil {
			return fmt.Errorf("remove namespace: %w", err)
		}
		return tell(ctx, tx, namespace)
	})
}

// forget removes who deleted namespaces, and why, once their names are free: then
// all that is left says that there was one.
func (d db) forgetDeletions(ctx context.Context) error {
	const q = `UPDATE namespaces.deletions SET account = '', reason = '' WHERE state = 'erased' AND free_at <= now() AND account <> ''`
	if _, err := d.pool.Exec(ctx, q); err != nil {
		return fmt.Errorf("forget who deleted namespaces: %w", err)
	}
	return nil
}

// overdue answers how many namespaces are to be gone by now and are not, and
// since when the oldest.
func (d db) overdue(ctx context.Context) (n int64, oldest time.Duration, err error) {
	const q = `
		SELECT count(*), coalesce(now() - min(erase_at), '0')
		FROM namespaces.deletions
		WHERE state = 'erasing' OR state = 'deleting' AND erase_at <= now()`
	if err := d.pool.QueryRow(ctx, q).Scan(&n, &oldest); err != nil {
		return 0, 0, fmt.Errorf("count erasures: %w", err)
	}
	return n, oldest, nil
}
