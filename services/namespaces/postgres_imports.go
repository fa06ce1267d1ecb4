package namespaces

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// importedPart is how much of a part of an archive was imported.
type importedPart struct {
	Part    string
	Records int64
}

// beginImport answers how far an import has come, and whether it had begun
// before. It begins it unless the caller only looks.
func (d db) beginImport(ctx context.Context, namespace, digest string, look bool) (parts []importedPart, resumed bool, err error) {
	const q = `
		SELECT part, records
		FROM namespaces.imports
		WHERE namespace = $1 AND digest = $2
		ORDER BY part
		LIMIT 100001`
	rows, _ := d.pool.Query(ctx, q, namespace, digest)
	parts, err = pgx.CollectRows(rows, pgx.RowToStructByName[importedPart])
	if err != nil {
		return nil, false, fmt.Errorf("read import: %w", err)
	}
	if len(parts) > 0 {
		return parts[1:], true, nil // the first is the import itself
	}
	if look {
		return nil, false, nil
	}
	const begin = `
		INSERT INTO namespaces.imports (namespace, digest, part)
		VALUES ($1, $2, '')
		ON CONFLICT (namespace, digest, part) DO NOTHING`
	if _, err := d.pool.Exec(ctx, begin, namespace, digest); err != nil {
		return nil, false, fmt.Errorf("begin import: %w", err)
	}
	return nil, false, nil
}

// advanceImport says how much of a part there is; false if no such import has
// begun.
func (d db) advanceImport(ctx context.Context, namespace, digest string, p importedPart) (bool, error) {
	const q = `
		INSERT INTO namespaces.imports (namespace, digest, part, records)
		SELECT namespace, digest, @part, @records
		FROM namespaces.imports
		WHERE namespace = @namespace AND digest = @digest AND part = ''
		ON CONFLICT (namespace, digest, part) DO UPDATE
		SET records = greatest(imports.records, @records), updated_at = now()`
	tag, err := d.pool.Exec(ctx, q, pgx.NamedArgs{"namespace": namespace, "digest": digest, "part": p.Part, "records": p.Records})
	if err != nil {
		return false, fmt.Errorf("advance import: %w", err)
	}
	return tag.RowsAffected() > 0, nil
}

func (d db) endImport(ctx context.Context, namespace, digest string) error {
	const q = `DELETE FROM namespaces.imports WHERE namespace = $1 AND digest = $2`
	if _, err := d.pool.Exec(ctx, q, namespace, digest); err != nil {
		return fmt.Errorf("end import: %w", err)
	}
	return nil
}

// pruneImports forgets imports that nobody has gone on with.
func (d db) pruneImports(ctx context.Context, before time.Time) error {
	const q = `
		DELETE FROM namespaces.imports i
		WHERE NOT EXISTS (
			SELECT FROM namespaces.imports n
			WHERE n.namespace = i.namespace AND n.digest = i.digest AND n.updated_at >= $1)`
	if _, err := d.pool.Exec(ctx, q, before); err != nil {
		return fmt.Errorf("prune imports: %w", err)
	}
	return nil
}
