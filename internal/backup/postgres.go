package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// tables are the tables of the platform: all that are not Postgres' own.
const tables = `
	SELECT schemaname, tablename FROM pg_catalog.pg_tables
	WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2`

// postgres writes a dump of the database, and answers how many rows it has. Both
// are of one moment.
func (w *writer) postgres(ctx context.Context, address string, o Options) (map[string]int64, error) {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("reach Postgres: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, err
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // it read only
	var snapshot string
	if err := tx.QueryRow(ctx, "SELECT pg_export_snapshot()").Scan(&snapshot); err != nil {
		return nil, fmt.Errorf("hold a snapshot of Postgres: %w", err)
	}
	from := w.bytes
	if err := w.dump(ctx, address, snapshot, o); err != nil {
		return nil, err
	}
	rows, err := count(ctx, tx)
	if err != nil {
		return nil, err
	}
	o.tell("Postgres: %d tables, %s", len(rows), size(w.bytes-from))
	return rows, nil
}

// dump leaves owners and grants out: they are made from the cluster secret, as
// at the start of a server.
func (w *writer) dump(ctx context.Context, address, snapshot string, o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends pg_dump when the archive cannot be written
	cmd, err := o.program(ctx, "pg_dump", address, "--format=custom", "--compress=0", "--no-owner", "--no-privileges", "--snapshot="+snapshot)
	if err != nil {
		return err
	}
	return w.output(postgresName, cmd, cancel)
}

// load fills an empty database, in one transaction.
func load(ctx context.Context, address string, dump io.Reader, o Options) error {
	cmd, err := o.program(ctx, "pg_restore", address, "--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges")
	if err != nil {
		return err
	}
	var said bytes.Buffer
	cmd.Stdin, cmd.Stderr = dump, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("pg_restore: %w: %s", err, said.Bytes())
	}
	return nil
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// count answers how many rows each table has.
func count(ctx context.Context, q querier) (map[string]int64, error) {
	rows, err := q.Query(ctx, tables)
	if err != nil {
		return nil, fmt.Errorf("list the tables: %w", err)
	}
	names, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (pgx.Identifier, error) {
		name := make(pgx.Identifier, 2)
		return name, r.Scan(&name[0], &name[1])
	})
	if err != nil {
		return nil, fmt.Errorf("list the tables: %w", err)
	}
	out := map[string]int64{}
	for _, name := range names {
		var n int64
		if err := q.QueryRow(ctx, "SELECT count(*) FROM "+name.Sanitize()).Scan(&n); err != nil {
			return nil, fmt.Errorf("count %s: %w", name.Sanitize(), err)
		}
		out[strings.Join(name, ".")] = n
	}
	return out, nil
}

// program makes a command of a Postgres program that connects to address. The
// password goes by the environment, where ps does not show it.
func (o Options) program(ctx context.Context, name, address string, args ...string) (*exec.Cmd, error) {
	path, err := o.find(name)
	if err != nil {
		return nil, err
	}
	config, err := pgconn.ParseConfig(address)
	if err != nil || !strings.Contains(address, "://") {
		return nil, errors.New("MICRO_POSTGRES_URL: not an address like postgres://user:password@host/database")
	}
	cmd := exec.CommandContext(ctx, path, append(args, "--no-password", "--dbname="+password.ReplaceAllString(address, "$1@"))...)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+config.Password)
	return cmd, nil
}

// password is that in an address, of which url.Parse takes no more than one host.
var password = regexp.MustCompile(`^([a-z]+://[^:/@?]*):[^@/?]*@`)

// find finds a Postgres program, which Debian keeps out of the PATH.
func (o Options) find(name string) (string, error) {
	if o.Programs != "" {
		return filepath.Join(o.Programs, name), nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) > 0 {
		return found[len(found)-1], nil // the newest dumps older servers, too
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("PostgreSQL's program %s was not found: install the package postgresql-client, or set MICRO_SERVER_POSTGRES_BIN to its directory", name)
	}
	return path, nil
}
