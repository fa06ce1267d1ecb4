package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/micro/platform/internal/grants"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pg"
)

var (
	errNoPerson    = errors.New("no such person")
	errPersonTaken = errors.New("the person has accounts")
)

// person is a row of auth.people.
type person struct {
	Mailbox     string
	Secret      string // a hash
	Factor      []byte // sealed
	FactorSince *time.Time
}

func (d db) personOf(ctx context.Context, mailbox string) (person, error) {
	const q = `SELECT mailbox, secret, factor, factor_since FROM auth.people WHERE mailbox = $1`
	rows, _ := d.pool.Query(ctx, q, mailbox) // CollectExactlyOneRow reports the error
	p, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[person])
	if errors.Is(err, pgx.ErrNoRows) {
		return p, errNoPerson
	}
	if err != nil {
		return p, fmt.Errorf("get person: %w", err)
	}
	return p, nil
}

// accountIn answers the account of a person in a namespace.
func (d db) accountIn(ctx context.Context, namespace, mailbox string) (account, error) {
	const q = accountColumns + `WHERE a.namespace = $1 AND a.person = $2 ORDER BY a.id LIMIT 1`
	return one(d.pool.Query(ctx, q, namespace, mailbox))
}

// accountsOf answers the accounts of a person, which stay as they are until the
// transaction ends. The one order of them all keeps two such from waiting for
// each other.
func accountsOf(ctx context.Context, tx pgx.Tx, mailbox string) ([]account, error) {
	const q = accountColumns + `WHERE a.person = $1 ORDER BY a.namespace, a.id FOR UPDATE OF a`
	rows, _ := tx.Query(ctx, q, mailbox) // CollectRows reports the error
	list, err := pgx.CollectRows(rows, pgx.RowToStructByName[account])
	if err != nil {
		return nil, fmt.Errorf("get accounts of a person: %w", err)
	}
	return list, nil
}

// createOwner makes the account of somebody who signed up, and the person. A
// person who has accounts has not signed up: errPersonTaken. login is the account
// elsewhere that they signed up with, if any.
func (d db) createOwner(ctx context.Context, a account, login ticket) error {
	err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		const put = `
			INSERT INTO auth.people (mailbox, secret) VALUES ($1, $2)
			ON CONFLICT (mailbox) DO UPDATE SET secret = excluded.secret
			WHERE NOT EXISTS (SELECT FROM auth.accounts WHERE person = $1)`
		tag, err := tx.Exec(ctx, put, a.Person, a.Secret)
		if err != nil {
			return fmt.Errorf("put person: %w", err)
		}
		if tag.RowsAffected() == 0 {
			return errPersonTaken
		}
		if login.Subject != "" {
			if err := putLink(ctx, tx, login, a.Person); err != nil {
				return err
			}
		}
		return insertMember(ctx, tx, a)
	})
	if pg.Violates(err, "accounts_pkey") {
		return errIDTaken
	}
	return named(err)
}

func named(err error) error {
	if pg.Violates(err, "accounts_name") {
		return errNameTaken
	}
	return err
}

func insertMember(ctx context.Context, tx pgx.Tx, a account) error {
	const q = `
		INSERT INTO auth.accounts (namespace, id, type, name, scopes, metadata, secret, owner, person)
		VALUES (@namespace, @id, @type, @name, @scopes, @metadata, '', @owner, @person)`
	_, err := tx.Exec(ctx, q, pgx.NamedArgs{
		"namespace": a.Namespace, "id": a.ID, "type": a.Type, "name": a.Name, "scopes": a.Scopes, "metadata": a.Metadata,
		"owner": a.Owner, "person": a.Person,
	})
	if err != nil {
		return fmt.Errorf("create account of a member: %w", err)
	}
	return nil
}

// setMember carries out an order, unless a newer one about the same account was
// carried out before.
func (d db) setMember(ctx context.Context, o memberOrder, l lives) error {
	return named(pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		const take = `
			INSERT INTO auth.member_orders AS old (namespace, account, version) VALUES ($1, $2, $3)
			ON CONFLICT (namespace, account) DO UPDATE SET version = excluded.version
			WHERE old.version < excluded.version`
		tag, err := tx.Exec(ctx, take, o.Namespace, o.Account, o.Version)
		if err != nil {
			return fmt.Errorf("take order: %w", err)
		}
		if tag.RowsAffected() == 0 {
			return nil
		}
		a, err := one(tx.Query(ctx, accountColumns+`WHERE a.namespace = $1 AND a.id = $2 FOR UPDATE OF a`, o.Namespace, o.Account))
		switch {
		case err != nil && err != errNoAccount:
			return err
		case o.Role != "":
			return putMember(ctx, tx, o, a, l)
		case err == errNoAccount || a.Person != o.Mailbox: // an account that is no member's is not ours to remove
			return nil
		default:
			return removeAccount(ctx, tx, a, l)
		}
	}))
}

// putMember makes the account a, which is the zero account if there is none, that
// of a member.
func putMember(ctx context.Context, tx pgx.Tx, o memberOrder, a account, l lives) error {
	if o.PasswordHash != "" {
		const q = `INSERT INTO auth.people (mailbox, secret) VALUES ($1, $2) ON CONFLICT (mailbox) DO NOTHING`
		if _, err := tx.Exec(ctx, q, o.Mailbox, o.PasswordHash); err != nil {
			return fmt.Errorf("put person: %w", err)
		}
	}
	scopes := scopesFor(o.Role, a.Scopes)
	if a.ID == "" {
		a = account{Namespace: o.Namespace, ID: o.Account, Name: o.Account, Type: identity.User, Scopes: scopes,
			Metadata: map[string]string{}, Owner: o.Role == grants.Owner, Person: o.Mailbox}
		err := insertMember(ctx, tx, a)
		if pg.Violates(err, "accounts_person_fkey") {
			return errNoPerson
		}
		return err
	}
	if a.Person != o.Mailbox {
		// An admin made it and knows its secret, and whoever has that may have logged in.
		for _, q := range []string{
			`DELETE FROM auth.sessions WHERE namespace = $1 AND account = $2`,
			`DELETE FROM auth.api_tokens WHERE namespace = $1 AND account = $2`,
		} {
			if _, err := tx.Exec(ctx, q, a.Namespace, a.ID); err != nil {
				return fmt.Errorf("end sessions: %w", err)
			}
		}
	}
	const q = `UPDATE auth.accounts SET scopes = $3, owner = $4, person = $5, type = 'user' WHERE namespace = $1 AND id = $2`
	if _, err := tx.Exec(ctx, q, a.Namespace, a.ID, scopes, o.Role == grants.Owner, o.Mailbox); err != nil {
		if pg.Violates(err, "accounts_person_fkey") {
			return errNoPerson
		}
		return fmt.Errorf("change account of a member: %w", err)
	}
	return refresh(ctx, tx, a, l)
}

// refresh refuses the access tokens of an account, which say what it may no
// longer. Its logins go on, and bring new ones.
func refresh(ctx context.Context, tx pgx.Tx, a account, l lives) error {
	if err := revoke(ctx, tx, a, "", l); err != nil {
		return err
	}
	return keepSessions(ctx, tx, a, nil)
}

// setPolicy carries out an order, unless a newer one about the same namespace
// was carried out before.
func (d db) setPolicy(ctx context.Context, namespace string, secondFactor bool, version int64, l lives) error {
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		const lock = `SELECT coalesce((SELECT second_factor FROM auth.policies WHERE namespace = $1 FOR UPDATE), false)`
		var was bool
		if err := tx.QueryRow(ctx, lock, namespace).Scan(&was); err != nil {
			return fmt.Errorf("get policy: %w", err)
		}
		const put = `
			INSERT INTO auth.policies AS old (namespace, second_factor, version) VALUES ($1, $2, $3)
			ON CONFLICT (namespace) DO UPDATE SET second_factor = excluded.second_factor, version = excluded.version
			WHERE old.version < excluded.version`
		tag, err := tx.Exec(ctx, put, namespace, secondFactor, version)
		if err != nil {
			return fmt.Errorf("set policy: %w", err)
		}
		if tag.RowsAffected() == 0 || was == secondFactor {
			return nil // nobody's tokens say anything else now
		}
		const whose = accountColumns + `
			WHERE a.namespace = $1 AND a.person IS NOT NULL AND NOT ` + enrolled + `
			ORDER BY a.id FOR UPDATE OF a`
		rows, _ := tx.Query(ctx, whose, namespace) // CollectRows reports the error
		list, err := pgx.CollectRows(rows, pgx.RowToStructByName[account])
		if err != nil {
			return fmt.Errorf("get people without second factor: %w", err)
		}
		for _, a := range list { // as many as the plan allows
			if err := refresh(ctx, tx, a, l); err != nil {
				return err
			}
		}
		return nil
	})
}
