// Package pgtest lends a migrated Postgres database to each test. The server is
// a real one, named by MICRO_TEST_POSTGRES_URL, which `make test` starts.
package pgtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/micro/platform/internal/pg"
	"github.com/micro/platform/internal/seal"
)

// Secret is the cluster secret of test databases.
const Secret = "a cluster secret that only tests use"

// env names the server, as an administrator.
const env = "MICRO_TEST_POSTGRES_URL"

var (
	mu       sync.Mutex
	template string
	free     []string // databases that were emptied and may be lent again
)

// New lends a database, as the role of a component that owns a schema in it.
func New(t testing.TB, component string) *pgxpool.Pool {
	t.Helper()
	pool, err := pg.Open(t.Context(), URL(t), seal.Cluster{Secret: Secret}, component)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// URL lends a database, as the administrator, for tests of several components.
func URL(t testing.TB) string {
	t.Helper()
	admin := os.Getenv(env)
	if admin == "" {
		t.Fatalf("%s is not set: run the tests by `make test`, or start its servers with `make test-env`", env)
	}
	name := lend(t, admin)
	t.Cleanup(func() { giveBack(t, admin, name) })
	return at(t, admin, name)
}

// at is the server's URL with another database.
func at(t testing.TB, admin, database string) string {
	t.Helper()
	u, err := url.Parse(admin)
	if err != nil {
		t.Fatalf("%s: %v", env, err)
	}
	u.Path = "/" + database
	return u.String()
}

func lend(t testing.TB, admin string) string {
	t.Helper()
	mu.Lock()
	defer mu.Unlock()
	if template == "" {
		template = migrated(t, admin)
	}
	if n := len(free); n > 0 {
		name := free[n-1]
		free = free[:n-1]
		return name
	}
	return create(t, admin, template)
}

// migrated makes a database with every schema. Roles belong to the whole server,
// so the processes of several packages take turns.
func migrated(t testing.TB, admin string) string {
	t.Helper()
	ctx := context.Background()
	turn, err := pgx.Connect(ctx, admin)
	if err != nil {
		t.Fatal(err)
	}
	defer turn.Close(ctx)
	if _, err := turn.Exec(ctx, "SELECT pg_advisory_lock(hashtext('pgtest'))"); err != nil {
		t.Fatal(err)
	}
	name := create(t, admin, "template0")
	if err := pg.Migrate(ctx, at(t, admin, name), seal.Cluster{Secret: Secret}); err != nil {
		t.Fatal(err)
	}
	return name
}

func create(t testing.TB, admin, from string) string {
	t.Helper()
	b := make([]byte, 6)
	rand.Read(b)
	name := "test_" + hex.EncodeToString(b)
	exec(t, admin, "CREATE DATABASE "+name+" TEMPLATE "+from)
	return name
}

// giveBack empties a database for the next test: DELETE on small tables is a
// twentieth of the time of a new clone.
func giveBack(t testing.TB, admin, name string) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, at(t, admin, name))
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close(ctx)
	const q = `
		SELECT string_agg(format('DELETE FROM %I.%I', schemaname, tablename), ';')
		FROM pg_tables
		WHERE schemaname NOT IN ('pg_catalog', 'information_schema', 'public')
		  AND tablename NOT IN ('migrations', 'river_migration')`
	var deletes *string
	if err := conn.QueryRow(ctx, q).Scan(&deletes); err != nil {
		t.Error(err)
		return
	}
	if deletes != nil {
		// Foreign keys need no order while triggers sleep.
		if _, err := conn.Exec(ctx, "SET session_replication_role = replica;"+*deletes); err != nil {
			t.Error(err)
			return
		}
	}
	mu.Lock()
	free = append(free, name)
	mu.Unlock()
}

func exec(t testing.TB, url, q string) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatalf("%s: %v", strings.SplitN(q, " ", 3)[0], err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, q); err != nil {
		t.Fatal(err)
	}
}
