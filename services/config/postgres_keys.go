package config

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

// sealedKeys is the key set as it is kept.
type sealedKeys struct {
	Version int64
	Keys    []byte
	// Resealed is the last namespace whose secrets the newest key has sealed,
	// while keys are exchanged.
	Resealed string
}

// firstKeys keeps keys unless there are some.
func (d db) firstKeys(ctx context.Context, keys []byte) error {
	const q = `
		INSERT INTO config.keys (version, keys)
		VALUES (1, $1)
		ON CONFLICT DO NOTHING`
	if _, err := d.pool.Exec(ctx, q, keys); err != nil {
		return fmt.Errorf("keep first keys: %w", err)
	}
	return nil
}

const selectKeys = `SELECT version, keys, resealed FROM config.keys WHERE id`

func (d db) keys(ctx context.Context) (sealedKeys, error) {
	rows, _ := d.pool.Query(ctx, selectKeys) // CollectExactlyOneRow reports the error
	return collectKeys(rows)
}

// holdKeys answers the keys, which stay as they are until tx ends.
func (tx tx) holdKeys(ctx context.Context) (sealedKeys, error) {
	rows, _ := tx.Query(ctx, selectKeys+" FOR SHARE") // CollectExactlyOneRow reports the error
	return collectKeys(rows)
}

func collectKeys(rows pgx.Rows) (sealedKeys, error) {
	k, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[sealedKeys])
	if err != nil {
		return k, fmt.Errorf("read keys: %w", err)
	}
	return k, nil
}

// replaceKeys exchanges the keys of a version, and answers them with the next.
func (d db) replaceKeys(ctx context.Context, version int64, keys []byte) (sealedKeys, error) {
	const q = `
		UPDATE config.keys
		SET version = version + 1, keys = $2, resealed = ''
		WHERE id AND version = $1`
	tag, err := d.pool.Exec(ctx, q, version, keys)
	if err != nil {
		return sealedKeys{}, fmt.Errorf("replace keys: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return sealedKeys{}, othersExchange()
	}
	return sealedKeys{Version: version + 1, Keys: keys}, nil
}

func othersExchange() error {
	return errors.New(codes.Aborted, "somebody else is exchanging the keys, try again when they are done")
}

// resealedTo remembers how far the exchange for the keys of a version has come.
func (d db) resealedTo(ctx context.Context, version int64, namespace string) error {
	const q = `UPDATE config.keys SET resealed = $2 WHERE id AND version = $1`
	tag, err := d.pool.Exec(ctx, q, version, namespace)
	if err != nil {
		return fmt.Errorf("remember how far keys are exchanged: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return othersExchange()
	}
	return nil
}

// namespaces answers those that have a document, after one.
func (d db) namespaces(ctx context.Context, after string, limit int) ([]string, error) {
	const q = `
		SELECT namespace
		FROM config.documents
		WHERE namespace > $1
		ORDER BY namespace
		LIMIT $2`
	rows, _ := d.pool.Query(ctx, q, after, limit) // CollectRows reports the error
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	return all, nil
}

// reseal exchanges the secrets of a namespace for what change makes of them, in
// the document and in all its versions. The lock of the document keeps others
// from copying an old one meanwhile.
func (d db) reseal(ctx context.Context, namespace string, change func(secrets map[string]secret) (bool, error)) error {
	return pgx.BeginFunc(ctx, d.pool, func(begun pgx.Tx) error {
		tx := tx{begun}
		now, err := tx.lock(ctx, namespace, false)
		if err != nil {
			return err
		}
		changed, err := change(now.Secrets)
		if err != nil {
			return err
		}
		const q = `UPDATE config.documents SET secrets = $2 WHERE namespace = $1`
		if changed {
			if _, err := tx.Exec(ctx, q, namespace, now.Secrets); err != nil {
				return fmt.Errorf("write secrets: %w", err)
			}
		}
		return tx.resealVersions(ctx, namespace, change)
	})
}

// resealPage is how many versions are in memory at once.
const resealPage = 10

func (tx tx) resealVersions(ctx context.Context, namespace string, change func(secrets map[string]secret) (bool, error)) error {
	const page = `
		SELECT version, secrets
		FROM config.versions
		WHERE namespace = $1 AND version > $2
		ORDER BY version
		LIMIT $3`
	const q = `UPDATE config.versions SET secrets = $3 WHERE namespace = $1 AND version = $2`
	type version struct {
		Version int64
		Secrets map[string]secret
	}
	for after := int64(0); ; {
		rows, _ := tx.Query(ctx, page, namespace, after, resealPage) // CollectRows reports the error
		all, err := pgx.CollectRows(rows, pgx.RowToStructByName[version])
		if err != nil {
			return fmt.Errorf("read secrets of versions: %w", err)
		}
		for _, v := range all {
			after = v.Version
			changed, err := change(v.Secrets)
			if err != nil {
				return err
			}
			if !changed {
				continue
			}
			if _, err := tx.Exec(ctx, q, namespace, v.Version, v.Secrets); err != nil {
				return fmt.Errorf("write secrets of a version: %w", err)
			}
		}
		if len(all) < resealPage {
			return nil
		}
	}
}
