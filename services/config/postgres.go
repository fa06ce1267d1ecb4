package config

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

type db struct{ pool *pgxpool.Pool }

// channel is where changes are told: the namespace.
const channel = "config_changes"

// notFound is the text that Micro clients know.
func notFound() error { return errors.New(codes.NotFound, "Not found") }

// sealed is a document with the keys that open its secrets.
type sealed struct {
	stored
	KeysVersion int64
	Keys        []byte
}

// read answers a document, or NotFound when nothing was ever set. One statement
// sees the document and the keys as they are at one time: read after each other,
// the keys of the document may be gone already.
func (d db) read(ctx context.Context, namespace string) (sealed, error) {
	const q = `
		SELECT d.version, d.document, d.secrets, k.version AS keys_version, k.keys
		FROM config.documents AS d
		CROSS JOIN config.keys AS k
		WHERE d.namespace = $1 AND k.id`
	rows, _ := d.pool.Query(ctx, q, namespace) // CollectExactlyOneRow reports the error
	return one[sealed](rows)
}

func one[T stored | sealed](rows pgx.Rows) (T, error) {
	s, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[T])
	if errors.Is(err, pgx.ErrNoRows) {
		return s, notFound()
	}
	if err != nil {
		return s, fmt.Errorf("read document: %w", err)
	}
	return s, nil
}

// tx is a transaction that changes a document.
type tx struct{ pgx.Tx }

// record is what history says of a change.
type record struct {
	Version     int64
	Action      string
	Path        string
	Account     string
	AccountName string
	CreatedAt   time.Time
	Restored    int64
}

// change is one to be made.
type change struct {
	namespace string
	keys      []string
	record    record
	creates   bool  // it may be the first
	expected  int64 // version, 0 for any
	keep      int   // versions
	apply     func(ctx context.Context, tx tx, d document) error
}

// change makes a version and answers its number.
func (d db) change(ctx context.Context, c change) (int64, error) {
	var version int64
	err := pgx.BeginFunc(ctx, d.pool, func(begun pgx.Tx) error {
		tx := tx{begun}
		old, err := tx.lock(ctx, c.namespace, c.creates)
		if err != nil {
			return err
		}
		if c.expected != 0 && c.expected != old.Version {
			return errors.New(codes.Aborted, "the config is at version %d by now, the change was made for version %d", old.Version, c.expected)
		}
		doc, err := old.load()
		if err != nil {
			return err
		}
		if err := c.apply(ctx, tx, doc); err != nil {
			return err
		}
		kept, err := doc.save()
		if err != nil {
			return err
		}
		kept.Version = old.Version + 1
		version = kept.Version
		return tx.write(ctx, c, kept)
	})
	return version, err
}

// lock reads a document that nobody else changes until tx ends.
func (tx tx) lock(ctx context.Context, namespace string, create bool) (stored, error) {
	const q = `
		SELECT version, document, secrets
		FROM config.documents
		WHERE namespace = $1
		FOR UPDATE`
	rows, _ := tx.Query(ctx, q, namespace) // CollectExactlyOneRow reports the error
	s, err := one[stored](rows)
	if !create || errors.Code(err) != codes.NotFound {
		return s, err
	}
	const first = `
		INSERT INTO config.documents (namespace, version, document)
		VALUES ($1, 0, '{}')
		ON CONFLICT DO NOTHING`
	if _, err := tx.Exec(ctx, first, namespace); err != nil {
		return s, fmt.Errorf("make document: %w", err)
	}
	rows, _ = tx.Query(ctx, q, namespace)
	return one[stored](rows)
}

func (tx tx) write(ctx context.Context, c change, s stored) error {
	const q = `
		WITH now AS (
			UPDATE config.documents
			SET version = @version, document = @document, secrets = @secrets
			WHERE namespace = @namespace
		), kept AS (
			INSERT INTO config.versions (namespace, version, action, path, account, account_name, restored, document, secrets)
			VALUES (@namespace, @version, @action, @path, @account, @account_name, @restored, @document, @secrets)
		), forgotten AS (
			DELETE FROM config.versions WHERE namespace = @namespace AND version <= @version - @keep::bigint
		)
		SELECT pg_notify(@channel, @namespace)`
	_, err := tx.Exec(ctx, q, pgx.NamedArgs{
		"namespace": c.namespace, "version": s.Version, "document": s.Document, "secrets": s.Secrets,
		"action": c.record.Action, "path": c.record.Path, "account": c.record.Account, "account_name": c.record.AccountName,
		"restored": c.record.Restored, "keep": max(c.keep, 1), "channel": channel,
	})
	if err != nil {
		return fmt.Errorf("write document: %w", err)
	}
	return nil
}

// history answers versions before one, the newest first.
func (d db) history(ctx context.Context, namespace string, before int64, limit int) ([]record, error) {
	const q = `
		SELECT version, action, path, account, account_name, created_at, restored
		FROM config.versions
		WHERE namespace = $1 AND version < $2
		ORDER BY version DESC
		LIMIT $3`
	rows, _ := d.pool.Query(ctx, q, namespace, before, limit) // CollectRows reports the error
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[record])
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	return all, nil
}

// version answers a document as it was.
func (tx tx) version(ctx context.Context, namespace string, version int64) (stored, error) {
	const q = `
		SELECT version, document, secrets
		FROM config.versions
		WHERE namespace = $1 AND version = $2`
	rows, _ := tx.Query(ctx, q, namespace, version) // CollectExactlyOneRow reports the error
	s, err := one[stored](rows)
	if errors.Code(err) == codes.NotFound {
		return s, errors.New(codes.NotFound, "no version %d is kept, \"micro config history\" lists them", version)
	}
	return s, err
}

// tell has watchers look at a namespace again.
func (d db) tell(ctx context.Context, namespace string) error {
	if _, err := d.pool.Exec(ctx, `SELECT pg_notify($1, $2)`, channel, namespace); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	return nil
}
