package pg

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/micro/platform/internal/seal"
	"github.com/micro/platform/migrations"
)

// migrateLock keeps two servers from migrating at once. The number means
// nothing.
const migrateLock = 7316520

// queues lists the components that keep River's job tables in their schema.
var queues = map[string]bool{"auth": true, "builder": true, "namespaces": true, "usage": true}

// Migrate brings every schema up to date, with the roles that own what is in
// them. url is the administrator's.
func Migrate(ctx context.Context, url string, cluster seal.Cluster) error {
	return eachComponent(ctx, url, func(pool *pgxpool.Pool, component string) error {
		return migrate(ctx, pool, cluster, component)
	})
}

// SetPasswords gives the roles of all components the passwords of the secret
// that seals.
func SetPasswords(ctx context.Context, url string, cluster seal.Cluster) error {
	return eachComponent(ctx, url, func(pool *pgxpool.Pool, component string) error {
		return setPassword(ctx, pool, "ALTER", cluster, component)
	})
}

// eachComponent does something as the administrator for each component that has
// a schema, in one process at a time.
func eachComponent(ctx context.Context, url string, do func(pool *pgxpool.Pool, component string) error) error {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return fmt.Errorf("MICRO_POSTGRES_URL: %w", err)
	}
	defer pool.Close()
	lock, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("reach Postgres: %w", err)
	}
	defer lock.Release()
	if _, err := lock.Exec(ctx, "SELECT pg_advisory_lock($1)", migrateLock); err != nil {
		return fmt.Errorf("lock migrations: %w", err)
	}
	defer lock.Exec(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", migrateLock) //nolint:errcheck // the lock goes with the connection
	components, err := fs.ReadDir(migrations.Files, ".")
	if err != nil {
		return err
	}
	for _, c := range components {
		if !c.IsDir() {
			continue
		}
		if err := do(pool, c.Name()); err != nil {
			return fmt.Errorf("prepare the schema of %s: %w", c.Name(), err)
		}
	}
	return nil
}

func migrate(ctx context.Context, pool *pgxpool.Pool, cluster seal.Cluster, component string) error {
	if err := role(ctx, pool, cluster, component); err != nil {
		return err
	}
	files, err := fs.Sub(migrations.Files, component)
	if err != nil {
		return err
	}
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close()
	store, err := database.NewStore(goose.DialectPostgres, component+".migrations")
	if err != nil {
		return err
	}
	// Everything is made by the administrator and lent to the role: a
	// component can change rows, not tables.
	provider, err := goose.NewProvider("", db, files, goose.WithStore(store))
	if err != nil {
		return err
	}
	if _, err := provider.Up(ctx); err != nil {
		return err
	}
	if queues[component] {
		m, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Schema: component})
		if err != nil {
			return err
		}
		if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
			return err
		}
	}
	return grant(ctx, pool, component)
}

// role makes the schema and the role of a component. Identifiers are the names
// of our own folders, quoted all the same.
func role(ctx context.Context, pool *pgxpool.Pool, cluster seal.Cluster, component string) error {
	var exists bool
	if err := pool.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1)", Role(component)).Scan(&exists); err != nil {
		return fmt.Errorf("look for role: %w", err)
	}
	verb := "CREATE"
	if exists {
		verb = "ALTER"
	}
	if err := setPassword(ctx, pool, verb, cluster, component); err != nil {
		return err
	}
	if _, err := pool.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+pgx.Identifier{component}.Sanitize()); err != nil {
		return fmt.Errorf("make schema: %w", err)
	}
	return nil
}

// setPassword creates or alters a role. DDL takes no parameters; the password is
// hexadecimal.
func setPassword(ctx context.Context, pool *pgxpool.Pool, verb string, cluster seal.Cluster, component string) error {
	name := pgx.Identifier{Role(component)}.Sanitize()
	if _, err := pool.Exec(ctx, verb+" ROLE "+name+" LOGIN PASSWORD '"+rolePassword(cluster.Secret, component)+"'"); err != nil {
		return fmt.Errorf("make role: %w", err)
	}
	return nil
}

func grant(ctx context.Context, pool *pgxpool.Pool, component string) error {
	schema, name := pgx.Identifier{component}.Sanitize(), pgx.Identifier{Role(component)}.Sanitize()
	for _, q := range []string{
		"GRANT USAGE ON SCHEMA " + schema + " TO " + name,
		"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA " + schema + " TO " + name,
		"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA " + schema + " TO " + name,
		"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA " + schema + " TO " + name,
	} {
		if _, err := pool.Exec(ctx, q); err != nil {
			return fmt.Errorf("grant: %w", err)
		}
	}
	return nil
}
