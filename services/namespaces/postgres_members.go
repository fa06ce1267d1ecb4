package namespaces

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/micro/platform/internal/grants"
	"github.com/micro/platform/internal/pg"
)

// errLastOwner is a change that would leave a namespace without an owner.
var errLastOwner = errors.New("the last owner remains")

const memberColumns = `SELECT namespace, account, mailbox, role, since FROM namespaces.members `

func (d db) members(ctx context.Context, namespace string) ([]member, error) {
	rows, _ := d.pool.Query(ctx, memberColumns+`WHERE namespace = $1 ORDER BY account`, namespace) // collectMembers reports the error
	return collectMembers(rows)
}

func collectMembers(rows pgx.Rows) ([]member, error) {
	list, err := pgx.CollectRows(rows, pgx.RowToStructByName[member])
	if err != nil {
		return nil, fmt.Errorf("list members: %w", err)
	}
	return list, nil
}

func (d db) member(ctx context.Context, namespace, account string) (member, error) {
	rows, _ := d.pool.Query(ctx, memberColumns+`WHERE namespace = $1 AND account = $2`, namespace, account) // the next reports the error
	m, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[member])
	if errors.Is(err, pgx.ErrNoRows) {
		return m, errNone
	}
	if err != nil {
		return m, fmt.Errorf("get member: %w", err)
	}
	return m, nil
}

// memberships answers where a person is a member.
func (d db) memberships(ctx context.Context, mailbox string) ([]member, error) {
	rows, _ := d.pool.Query(ctx, memberColumns+`WHERE mailbox = $1 ORDER BY namespace`, mailbox) // collectMembers reports the error
	return collectMembers(rows)
}

// changeMembers changes the members of a namespace while nobody else does, and
// answers what auth has to be told.
func (d db) changeMembers(ctx context.Context, namespace string, do func(*roster) error) ([]memberOrder, error) {
	return d.changeMembersWith(ctx, namespace, func(_ pgx.Tx, r *roster) error { return do(r) })
}

// changeMembersWith is changeMembers for who changes more in the same
// transaction.
func (d db) changeMembersWith(ctx context.Context, namespace string, do func(pgx.Tx, *roster) error) (orders []memberOrder, err error) {
	err = pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		r := &roster{namespace: namespace}
		const lock = `SELECT owner FROM namespaces.namespaces WHERE namespace = $1 AND active_at IS NOT NULL FOR UPDATE`
		if err := tx.QueryRow(ctx, lock, namespace).Scan(&r.owner); errors.Is(err, pgx.ErrNoRows) {
			return errNone
		} else if err != nil {
			return fmt.Errorf("lock namespace: %w", err)
		}
		rows, _ := tx.Query(ctx, memberColumns+`WHERE namespace = $1 ORDER BY account`, namespace) // collectMembers reports the error
		if r.members, err = collectMembers(rows); err != nil {
			return err
		}
		named := r.owner
		if err := do(tx, r); err != nil {
			return err
		}
		if len(r.changes) == 0 {
			return nil
		}
		if !r.settle() {
			return errLastOwner
		}
		if r.owner != named {
			if _, err := tx.Exec(ctx, `UPDATE namespaces.namespaces SET owner = $2 WHERE namespace = $1`, namespace, r.owner); err != nil {
				return fmt.Errorf("name owner: %w", err)
			}
		}
		orders, err = r.write(ctx, tx)
		return err
	})
	return orders, err
}

// write keeps the changes of a roster, with the orders for auth.
func (r *roster) write(ctx context.Context, tx pgx.Tx) ([]memberOrder, error) {
	var orders []memberOrder
	for _, c := range r.changes { // one, or the two of a transfer
		if err := writeMember(ctx, tx, c.member); err != nil {
			return nil, err
		}
		o, err := placeOrder(ctx, tx, memberOrder{
			Namespace: r.namespace, Account: c.Account, Mailbox: c.Mailbox, Role: c.Role, PasswordHash: c.passwordHash,
		})
		if err != nil {
			return nil, err
		}
		orders = append(orders, o)
	}
	return orders, nil
}

func writeMember(ctx context.Context, tx pgx.Tx, m member) error {
	if m.Role == "" {
		const forget = `UPDATE namespaces.namespaces SET signed_up = false WHERE namespace = $1 AND mailbox = $2`
		if _, err := tx.Exec(ctx, forget, m.Namespace, m.Mailbox); err != nil {
			return fmt.Errorf("let mailbox go: %w", err)
		}
		if _, err := tx.Exec(ctx, `DELETE FROM namespaces.members WHERE namespace = $1 AND account = $2`, m.Namespace, m.Account); err != nil {
			return fmt.Errorf("remove member: %w", err)
		}
		return nil
	}
	const put = `
		INSERT INTO namespaces.members (namespace, account, mailbox, role) VALUES ($1, $2, $3, $4)
		ON CONFLICT (namespace, account) DO UPDATE SET role = excluded.role`
	if _, err := tx.Exec(ctx, put, m.Namespace, m.Account, m.Mailbox, m.Role); err != nil {
		return fmt.Errorf("put member: %w", err)
	}
	return nil
}

// memberOrder is what auth has to be told about a member or, without an account,
// about the namespace.
type memberOrder struct {
	Namespace    string
	Account      string
	Version      int64
	Mailbox      string
	Role         grants.Role
	SecondFactor bool
	PasswordHash string
}

// placeOrder writes an order in the place of an earlier one about the same. A
// person who is still to be made keeps the password.
func placeOrder(ctx context.Context, tx pgx.Tx, o memberOrder) (memberOrder, error) {
	const q = `
		INSERT INTO namespaces.member_orders AS old (namespace, account, mailbox, role, second_factor, password_hash, next_at)
		VALUES (@namespace, @account, @mailbox, @role, @second_factor, @password_hash, now() + @head_start::interval)
		ON CONFLICT (namespace, account) DO UPDATE
		SET version = excluded.version, mailbox = excluded.mailbox, role = excluded.role, second_factor = excluded.second_factor,
			password_hash = CASE WHEN excluded.password_hash = '' THEN old.password_hash ELSE excluded.password_hash END,
			attempts = 0, next_at = excluded.next_at
		RETURNING version, password_hash`
	err := tx.QueryRow(ctx, q, pgx.NamedArgs{
		"namespace": o.Namespace, "account": o.Account, "mailbox": o.Mailbox, "role": o.Role, "second_factor": o.SecondFactor,
		"password_hash": o.PasswordHash, "head_start": headStart,
	}).Scan(&o.Version, &o.PasswordHash)
	if err != nil {
		return o, fmt.Errorf("place order: %w", err)
	}
	return o, nil
}

// dueMembers answers orders that are to be carried out now, and puts off their
// next attempt, so that no other process takes them too.
func (d db) dueMembers(ctx context.Context, limit int) ([]memberOrder, error) {
	const q = `
		UPDATE namespaces.member_orders
		SET attempts = attempts + 1, next_at = now() + make_interval(secs => least(2 ^ least(attempts, 6), 60))
		WHERE (namespace, account) IN (
			SELECT namespace, account FROM namespaces.member_orders
			WHERE next_at <= now()
			ORDER BY next_at, namespace, account
			LIMIT $1
			FOR UPDATE SKIP LOCKED)
		RETURNING namespace, account, version, mailbox, role, second_factor, password_hash`
	rows, _ := d.pool.Query(ctx, q, limit) // CollectRows reports the error
	list, err := pgx.CollectRows(rows, pgx.RowToStructByName[memberOrder])
	if err != nil {
		return nil, fmt.Errorf("take orders about members: %w", err)
	}
	return list, nil
}

// closeOrder removes an order that was carried out, unless another has taken its
// place.
func (d db) closeOrder(ctx context.Context, o memberOrder) error {
	const q = `DELETE FROM namespaces.member_orders WHERE namespace = $1 AND account = $2 AND version = $3`
	if _, err := d.pool.Exec(ctx, q, o.Namespace, o.Account, o.Version); err != nil {
		return fmt.Errorf("close order about a member: %w", err)
	}
	return nil
}

// errTooMany is a person who owns as many namespaces as one may.
var errTooMany = errors.New("too many namespaces")

// createFor makes a namespace that a person owns, who owns less than limit.
func (d db) createFor(ctx context.Context, name string, owner member, limit int) (made namespace, o memberOrder, err error) {
	err = pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		rows, _ := tx.Query(ctx, memberColumns+`WHERE mailbox = $1 ORDER BY namespace FOR UPDATE`, owner.Mailbox) // collectMembers reports the error
		all, err := collectMembers(rows)
		if err != nil {
			return err
		}
		owned := 0
		for _, m := range all {
			if m.Role == grants.Owner {
				owned++
			}
		}
		if owned >= limit {
			return errTooMany
		}
		made, err = putNamespace(ctx, tx, namespace{Namespace: name, Owner: owner.Account}, owner.Mailbox, false)
		if err != nil {
			return err
		}
		m := member{Namespace: name, Account: owner.Account, Mailbox: owner.Mailbox, Role: grants.Owner}
		if err := writeMember(ctx, tx, m); err != nil {
			return err
		}
		o, err = placeOrder(ctx, tx, memberOrder{Namespace: name, Account: m.Account, Mailbox: m.Mailbox, Role: m.Role})
		return err
	})
	if pg.Violates(err, "namespaces_pkey") {
		err = errNameTaken
	}
	return made, o, err
}

// configure changes what holds for all members, and answers what auth has to be
// told. allowed is asked with the members while nobody else changes them.
func (d db) configure(ctx context.Context, name string, secondFactor bool, allowed func(*roster) error) (orders []memberOrder, err error) {
	_, err = d.changeMembersWith(ctx, name, func(tx pgx.Tx, r *roster) error {
		if err := allowed(r); err != nil {
			return err
		}
		const q = `UPDATE namespaces.namespaces SET require_second_factor = $2 WHERE namespace = $1`
		if _, err := tx.Exec(ctx, q, name, secondFactor); err != nil {
			return fmt.Errorf("configure namespace: %w", err)
		}
		o, err := placeOrder(ctx, tx, memberOrder{Namespace: name, SecondFactor: secondFactor})
		orders = []memberOrder{o}
		return err
	})
	return orders, err
}
