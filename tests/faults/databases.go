package faults

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/pgtest"
	"github.com/micro/platform/internal/porttest"
	"github.com/micro/platform/internal/settings"
)

// databases are those of a platform that is apart, as docs/store.md and
// docs/events.md want them, at addresses that outlive them.
type databases struct {
	Platform        app.Platform
	redis, postgres *daemon
}

// startDatabases keeps everything in dir, which the user of Postgres can reach.
func startDatabases(ctx context.Context, dir string) (*databases, error) {
	d := &databases{}
	bucket := filepath.Join(dir, "bucket")
	err := errors.Join(os.Mkdir(bucket, 0o700), d.makeRedis(filepath.Join(dir, "redis")), d.makePostgres(filepath.Join(dir, "postgres")))
	if err != nil {
		return nil, err
	}
	d.Platform.BucketURL = "file://" + bucket + "?no_tmp_dir=true&metadata=skip"
	d.Platform.StateDir = filepath.Join(dir, "state")
	d.Platform.ClusterSecret = pgtest.Secret
	return d, errors.Join(d.redis.up(ctx), d.postgres.up(ctx))
}

func (d *databases) stop() { errors.Join(d.redis.kill(), d.postgres.kill()) } //nolint:errcheck // they are gone either way

func (d *databases) makeRedis(dir string) error {
	port, err := porttest.Reserve()
	if err != nil {
		return err
	}
	at := fmt.Sprintf("127.0.0.1:%d", port)
	d.Platform.RedisURL = settings.Secret("redis://" + at)
	d.Platform.DurableRedisURL = d.Platform.RedisURL
	d.redis = &daemon{name: "redis-server",
		command: func() *exec.Cmd {
			return exec.Command("redis-server", "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir, "--save", "",
				"--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction", "--loglevel", "warning")
		},
		ready: func(ctx context.Context) error {
			c := redis.NewClient(&redis.Options{Addr: at, MaxRetries: -1})
			defer c.Close()
			return c.Ping(ctx).Err()
		}}
	return os.Mkdir(dir, 0o700)
}

func (d *databases) makePostgres(dir string) error {
	port, err := porttest.Reserve()
	if err != nil {
		return err
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(found) == 0 {
		return errors.New("PostgreSQL's programs were not found in /usr/lib/postgresql/*/bin")
	}
	run := func(program string, args ...string) (*exec.Cmd, error) {
		cmd := exec.Command(filepath.Join(found[len(found)-1], program), args...)
		cmd.Dir = "/"
		var err error
		cmd.SysProcAttr, err = asPostgres(dir)
		return cmd, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	initdb, err := run("initdb", "-D", dir, "-U", "micro", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions")
	if err != nil {
		return err
	}
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	u := url.URL{Scheme: "postgres", User: url.User("micro"), Host: fmt.Sprintf("127.0.0.1:%d", port), Path: "postgres", RawQuery: "sslmode=disable"}
	d.Platform.PostgresURL = settings.Secret(u.String())
	d.postgres = &daemon{name: "postgres",
		command: func() *exec.Cmd {
			cmd, _ := run("postgres", "-D", dir, "-p", strconv.Itoa(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=200")
			return cmd
		},
		ready: func(ctx context.Context) error {
			conn, err := pgx.Connect(ctx, u.String())
			if err == nil {
				err = conn.Close(ctx)
			}
			return err
		}}
	return nil
}

// asPostgres makes a process run as the user postgres, who gets dir: Postgres
// refuses root.
func asPostgres(dir string) (*syscall.SysProcAttr, error) {
	if os.Geteuid() != 0 {
		return &syscall.SysProcAttr{}, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, os.Chown(dir, uid, gid)
}

// upTimeout bounds the start of a database, its recovery included.
const upTimeout = 30 * time.Second

// daemon is a database that is killed and started again.
type daemon struct {
	name    string
	command func() *exec.Cmd
	ready   func(ctx context.Context) error

	cmd *exec.Cmd
}

func (d *daemon) up(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, upTimeout)
	defer cancel()
	cmd := d.command()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := cmd.Start(); err != nil {
		return err
	}
	d.cmd = cmd
	for {
		err := d.ready(ctx)
		if err == nil {
			return nil
		}
		if !pauseUntil(ctx, time.Now().Add(tryAgain)) {
			return fmt.Errorf("%s does not come up: %w", d.name, err)
		}
	}
}

// kill ends it and its children.
func (d *daemon) kill() error {
	if d.cmd == nil {
		return nil
	}
	all, err := tree(d.cmd.Process.Pid)
	if err != nil {
		return err
	}
	killAll(all)
	d.cmd.Wait() //nolint:errcheck // by the kill
	d.cmd = nil
	return nil
}
