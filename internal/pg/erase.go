package pg

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Erase deletes up to limit rows of a namespace from the tables of a schema that
// have a column of that name, but for some, and says whether there are no more. A
// new table is covered from its first day on. Rows that refer to others are
// deleted before them.
func Erase(ctx context.Context, pool *pgxpool.Pool, schema, namespace string, limit int64, but ...string) (done bool, err error) {
	const tables = `
		SELECT c.table_name::text
		FROM information_schema.columns AS c
		WHERE c.table_schema = $1 AND c.column_name = 'namespace'
		ORDER BY (SELECT count(*) FROM pg_constraint AS r
			WHERE r.contype = 'f' AND r.conrelid = format('%I.%I', c.table_schema, c.table_name)::regclass) DESC, c.table_name`
	rows, _ := pool.Query(ctx, tables, schema) // CollectRows reports the error
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return false, fmt.Errorf("find tables of %s: %w", schema, err)
	}
	for _, name := range names {
		if slices.Contains(but, name) {
			continue
		}
		table := pgx.Identifier{schema, name}.Sanitize()
		q := `DELETE FROM ` + table + ` WHERE ctid = ANY(ARRAY(SELECT ctid FROM ` + table + ` WHERE namespace = $1 LIMIT $2))`
		tag, err := pool.Exec(ctx, q, namespace, limit)
		if err != nil {
			return false, fmt.Errorf("erase %s: %w", table, err)
		}
		if limit -= tag.RowsAffected(); limit <= 0 {
			return false, nil
		}
	}
	return true, nil
}
