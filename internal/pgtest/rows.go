package pgtest

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Rows answers the tables of a schema that have rows of a namespace. Tests of an
// erasure look into all tables with it, those of tomorrow too.
func Rows(t testing.TB, pool *pgxpool.Pool, schema, namespace string) map[string]int {
	t.Helper()
	const q = `SELECT table_name::text FROM information_schema.columns WHERE table_schema = $1 AND column_name = 'namespace'`
	rows, _ := pool.Query(t.Context(), q, schema) // CollectRows reports the error
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	out := map[string]int{}
	for _, name := range names {
		var n int
		if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM `+pgx.Identifier{schema, name}.Sanitize()+` WHERE namespace = $1`, namespace).Scan(&n); err != nil {
			t.Fatalf("count %s: %v", name, err)
		}
		if n > 0 {
			out[name] = n
		}
	}
	return out
}
