package runtime

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

// upload is a source in the bucket.
type upload struct {
	Namespace string
	Key       string
}

// beginUpload writes down a blob that is about to be, so that it is found again
// if its upload never ends.
func (d db) beginUpload(ctx context.Context, k key, blob string, limit int) error {
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		if err := lock(ctx, tx, k.Namespace); err != nil {
			return err
		}
		const count = `SELECT count(*) FROM runtime.uploads WHERE namespace = $1`
		var n int
		if err := tx.QueryRow(ctx, count, k.Namespace).Scan(&n); err != nil {
			return fmt.Errorf("count uploads: %w", err)
		}
		if n >= limit {
			return errors.New(codes.ResourceExhausted, "the namespace has %d uploaded sources, and may have %d: deploy or delete some, or wait for unused ones to expire", n, limit)
		}
		const q = `INSERT INTO runtime.uploads (namespace, key, name, version) VALUES ($1, $2, $3, $4)`
		if _, err := tx.Exec(ctx, q, k.Namespace, blob, k.Name, k.Version); err != nil {
			return fmt.Errorf("begin upload: %w", err)
		}
		return nil
	})
}

// finishUpload says that a blob is complete, and so the newest of its service.
func (d db) finishUpload(ctx context.Context, namespace, blob string) error {
	const q = `UPDATE runtime.uploads SET ready = true, created_at = clock_timestamp() WHERE namespace = $1 AND key = $2`
	tag, err := d.pool.Exec(ctx, q, namespace, blob)
	if err != nil {
		return fmt.Errorf("finish upload: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return errors.New(codes.Aborted, "the upload took too long, send it again")
	}
	return nil
}

// dropUpload forgets a blob that is no longer in the bucket.
func (d db) dropUpload(ctx context.Context, namespace, blob string) error {
	const q = `DELETE FROM runtime.uploads WHERE namespace = $1 AND key = $2`
	if _, err := d.pool.Exec(ctx, q, namespace, blob); err != nil {
		return fmt.Errorf("drop upload: %w", err)
	}
	return nil
}

// newestUpload answers the blob of the newest upload for a service, "" if there
// is none.
func (d db) newestUpload(ctx context.Context, k key) (string, error) {
	const q = `
		SELECT key FROM runtime.uploads
		WHERE namespace = $1 AND name = $2 AND version = $3 AND ready
		ORDER BY created_at DESC, key
		LIMIT 1`
	var blob string
	err := d.pool.QueryRow(ctx, q, k.Namespace, k.Name, k.Version).Scan(&blob)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look for upload: %w", err)
	}
	return blob, nil
}

// unused answers uploads that no build needs, be it another one of what runs:
// those with a newer one, those
// whose service is not there, and those that never ended. Young ones are left
// alone: a Create may be on its way to them.
func (d db) unused(ctx context.Context, before time.Time, limit int) ([]upload, error) {
	const q = `
		SELECT u.namespace, u.key
		FROM runtime.uploads u
		WHERE u.created_at < $1
		  AND NOT EXISTS (
			SELECT FROM runtime.revisions r
			WHERE r.namespace = u.namespace AND r.upload = u.key AND (r.state IN ('pending', 'building', 'starting', 'running') OR r.state = 'error' AND r.account <> ''))
		  AND (NOT u.ready
			OR EXISTS (
				SELECT FROM runtime.uploads n
				WHERE n.namespace = u.namespace AND n.name = u.name AND n.version = u.version AND n.ready AND n.created_at > u.created_at)
			OR NOT EXISTS (
				SELECT FROM runtime.services s
				WHERE s.namespace = u.namespace AND s.source = 'source://' || u.name || ':' || u.version AND s.deleted_at IS NULL))
		ORDER BY u.namespace, u.key
		LIMIT $2`
	rows, _ := d.pool.Query(ctx, q, before, limit)
	out, err := pgx.CollectRows(rows, pgx.RowToStructByName[upload])
	if err != nil {
		return nil, fmt.Errorf("look for unused uploads: %w", err)
	}
	return out, nil
}

// uploadsBefore answers the uploads for a deleted service from before it was
// deleted.
func (d db) uploadsBefore(ctx context.Context, k key) ([]upload, error) {
	const q = `
		SELECT u.namespace, u.key
		FROM runtime.uploads u
		JOIN runtime.services s ON s.namespace = u.namespace AND s.name = u.name AND s.version = u.version
		WHERE u.namespace = $1 AND u.name = $2 AND u.version = $3 AND u.ready AND u.created_at < s.deleted_at
		ORDER BY u.key
		LIMIT 1000`
	rows, _ := d.pool.Query(ctx, q, k.Namespace, k.Name, k.Version)
	out, err := pgx.CollectRows(rows, pgx.RowToStructByName[upload])
	if err != nil {
		return nil, fmt.Errorf("look for uploads of deleted service: %w", err)
	}
	return out, nil
}
