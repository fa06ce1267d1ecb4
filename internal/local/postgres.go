package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// postgresUser is the administrator that initdb makes, and its database.
const postgresUser, postgresDB = "micro", "micro"

type postgres struct {
	*child
	url string
}

// startPostgres starts the server of a data directory, and makes the directory
// first when it is new. quick gives up durability, for tests.
func startPostgres(ctx context.Context, o Options, as runAs, dir, password string, quick bool) (*postgres, error) {
	bin, err := o.postgresBin()
	if err != nil {
		return nil, err
	}
	if err := initdb(ctx, as, bin, dir, password); err != nil {
		return nil, err
	}
	if err := awaitEnd(ctx, dir, "postmaster.pid"); err != nil {
		return nil, err
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	args := []string{"-D", fdDir}
	for _, s := range postgresSettings(port, quick) {
		args = append(args, "-c", s)
	}
	cmd, started, err := as.command(context.WithoutCancel(ctx), dir, filepath.Join(bin, "postgres"), args...)
	if err != nil {
		return nil, err
	}
	c, err := start("Postgres", cmd)
	started()
	if err != nil {
		return nil, err
	}
	u := url.URL{Scheme: "postgres", User: url.UserPassword(postgresUser, password), Host: fmt.Sprintf("127.0.0.1:%d", port), Path: postgresDB, RawQuery: "sslmode=disable"}
	p := &postgres{c, u.String()}
	if err := c.ready(ctx, p.probe); err != nil {
		c.stop(ctx, syscall.SIGQUIT)
		return nil, err
	}
	return p, nil
}

// awaitEnd waits for a server that is still stopping: its parent was killed a
// moment ago, and it writes out what it has. The data directory is locked, so it
// is nobody else's. pidFile is where in dir the server keeps its process id.
func awaitEnd(ctx context.Context, dir, pidFile string) error {
	b, err := os.ReadFile(filepath.Join(dir, pidFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(b), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil {
		return nil // the server judges what is in the file
	}
	home, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	for {
		// Its working directory is its data: no other process is mistaken for it.
		cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
		if (err != nil || cwd != home) && !unburied(pid) {
			return nil
		}
		syscall.Kill(pid, syscall.SIGINT) //nolint:errcheck // it may have ended, or have been told already
		select {
		case <-ctx.Done():
			return fmt.Errorf("the database of an earlier server (process %d) does not stop: %w", pid, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// unburied is true of a process that has ended and that its parent has not asked
// about: it has no working directory any more, but Postgres takes it for alive.
func unburied(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && bytes.Contains(b, []byte(") Z "))
}

// probe connects, and makes the database when it is not there.
func (p *postgres) probe(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, strings.Replace(p.url, "/"+postgresDB+"?", "/postgres?", 1))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)", postgresDB).Scan(&exists); err != nil || exists {
		return err
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+postgresDB)
	return err
}

func postgresSettings(port int, quick bool) []string {
	s := []string{
		fmt.Sprintf("port=%d", port),
		"listen_addresses=127.0.0.1",
		"unix_socket_directories=",
		"max_connections=200",
		"timezone=UTC",
		"log_timezone=UTC",
		"log_min_messages=warning",
	}
	if quick {
		s = append(s, "fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=500")
	}
	return s
}

func initdb(ctx context.Context, as runAs, bin, dir, password string) error {
	if _, err := os.Stat(filepath.Join(dir, "PG_VERSION")); err == nil {
		return checkMajor(ctx, bin, dir)
	}
	if err := as.own(dir); err != nil {
		return err
	}
	cmd, started, err := as.command(ctx, dir, filepath.Join(bin, "initdb"), "-D", fdDir, "-U", postgresUser,
		"--auth=scram-sha-256", "--pwfile="+fdFile, "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions")
	if err != nil {
		return err
	}
	defer started()
	file, err := as.file(password) // ps shows arguments, so the password is not one
	if err != nil {
		return err
	}
	defer file.Close()
	cmd.ExtraFiles = append(cmd.ExtraFiles, file)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make the Postgres data directory %s: %w: %s", dir, err, out)
	}
	return nil
}

// checkMajor compares the data directory with the programs.
func checkMajor(ctx context.Context, bin, dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, "PG_VERSION"))
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, filepath.Join(bin, "postgres"), "--version").Output()
	if err != nil {
		return fmt.Errorf("ask Postgres for its version: %w", err)
	}
	have, version := strings.TrimSpace(string(b)), strings.TrimSpace(string(out))
	if !strings.Contains(version, " "+have+".") {
		return fmt.Errorf("the data directory %s was made by PostgreSQL %s, and this machine has %s: set MICRO_SERVER_POSTGRES_BIN to the programs of version %s", dir, have, version, have)
	}
	return nil
}

// postgresBin finds the directory of the server's programs, which Debian keeps
// out of the PATH.
func (o Options) postgresBin() (string, error) {
	candidates := []string{o.PostgresBin}
	if o.PostgresBin == "" {
		found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
		candidates = found
		if path, err := exec.LookPath("postgres"); err == nil {
			candidates = append(candidates, filepath.Dir(path))
		}
	}
	for _, dir := range candidates {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("PostgreSQL's programs (initdb, postgres) were not found: install the package postgresql, or set MICRO_SERVER_POSTGRES_BIN to their directory")
}
