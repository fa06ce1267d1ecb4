package platform

import (
	"context"
	"errors"
	"fmt"
	"net"
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
	"golang.org/x/sys/unix"

	"github.com/micro/platform/internal/porttest"
)

// Daemon is a database that is killed and started again. Its address outlives
// it.
type Daemon struct {
	Name, URL string

	command func() *exec.Cmd
	ready   func(ctx context.Context) error
	cmd     *exec.Cmd
}

// upTimeout bounds the start of a database, its recovery included.
const upTimeout = 30 * time.Second

// restartDelay is the time until a supervisor starts a database again: systemd's
// default.
const restartDelay = 100 * time.Millisecond

// NewRedis makes a Redis as docs/store.md and docs/events.md want it. It keeps
// its data in dir, listens on the IP address host, and is not started yet. More
// are further arguments.
func NewRedis(dir, host string, more ...string) (*Daemon, error) {
	port, err := porttest.Reserve()
	if err != nil {
		return nil, err
	}
	at := net.JoinHostPort(host, strconv.Itoa(port))
	return &Daemon{Name: "redis-server", URL: "redis://" + at,
		command: func() *exec.Cmd {
			return exec.Command("redis-server", append([]string{"--port", strconv.Itoa(port), "--bind", host, "--protected-mode", "no", "--dir", dir, "--save", "",
				"--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction", "--loglevel", "warning"}, more...)...)
		},
		ready: func(ctx context.Context) error { return pingRedis(ctx, at) }}, os.MkdirAll(dir, 0o700)
}

func pingRedis(ctx context.Context, at string) error {
	c := redis.NewClient(&redis.Options{Addr: at, MaxRetries: -1})
	defer c.Close()
	return c.Ping(ctx).Err()
}

// MasterName is what Sentinels call the master that they watch.
const MasterName = "durable"

// NewSentinel makes a Sentinel that watches a Redis, and has a replica take its
// place a second after it is gone, if another agrees. Its URL is its address.
func NewSentinel(dir, host string, master *Daemon) (*Daemon, error) {
	port, err := porttest.Reserve()
	if err != nil {
		return nil, err
	}
	of, err := url.Parse(master.URL)
	if err != nil {
		return nil, err
	}
	at, file := net.JoinHostPort(host, strconv.Itoa(port)), filepath.Join(dir, "sentinel.conf")
	config := fmt.Sprintf("port %d\nbind %s\nprotected-mode no\ndir %s\n"+
		"sentinel monitor %[4]s %s %s 2\nsentinel down-after-milliseconds %[4]s 1000\nsentinel failover-timeout %[4]s 5000\n",
		port, host, dir, MasterName, of.Hostname(), of.Port())
	return &Daemon{Name: "sentinel", URL: at,
		command: func() *exec.Cmd { return exec.Command("redis-server", file, "--sentinel", "--loglevel", "warning") },
		ready:   func(ctx context.Context) error { return pingRedis(ctx, at) },
	}, errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(file, []byte(config), 0o600))
}

// NewPostgres makes a Postgres with its data in dir, which listens on the IP
// address host and believes everybody there. It is not started yet.
func NewPostgres(dir, host string) (*Daemon, error) {
	d, run, err := postgres(dir, host)
	if err != nil {
		return nil, err
	}
	initdb, err := run("initdb", "-D", dir, "-U", "micro", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions")
	if err != nil {
		return nil, err
	}
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	return d, believe(dir, host)
}

// NewStandby makes a Postgres that follows another one, which serves, and has all
// that it has acknowledged: that waits for it from then on. It is not started yet.
func NewStandby(ctx context.Context, dir, host string, primary *Daemon) (*Daemon, error) {
	d, run, err := postgres(dir, host)
	if err != nil {
		return nil, err
	}
	copied, err := run("pg_basebackup", "-D", dir, "-d", primary.URL, "-R", "-c", "fast")
	if err != nil {
		return nil, err
	}
	if out, err := copied.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("pg_basebackup: %w: %s", err, out)
	}
	return d, primary.Exec(ctx, "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
}

// Exec has a Postgres execute statements.
func (d *Daemon) Exec(ctx context.Context, statements ...string) error {
	conn, err := pgx.Connect(ctx, d.URL)
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // the statements count
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// postgres makes a Postgres of what dir will have, and what runs its programs.
func postgres(dir, host string) (d *Daemon, run func(program string, args ...string) (*exec.Cmd, error), err error) {
	port, err := porttest.Reserve()
	if err != nil {
		return nil, nil, err
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(found) == 0 {
		return nil, nil, errors.New("PostgreSQL's programs were not found in /usr/lib/postgresql/*/bin")
	}
	run = func(program string, args ...string) (*exec.Cmd, error) {
		cmd := exec.Command(filepath.Join(found[len(found)-1], program), args...)
		cmd.Dir = "/"
		var err error
		cmd.SysProcAttr, err = asPostgres(dir)
		return cmd, err
	}
	u := url.URL{Scheme: "postgres", User: url.User("micro"), Host: net.JoinHostPort(host, strconv.Itoa(port)), Path: "postgres", RawQuery: "sslmode=disable"}
	return &Daemon{Name: "postgres", URL: u.String(),
		command: func() *exec.Cmd {
			cmd, _ := run("postgres", "-D", dir, "-p", strconv.Itoa(port), "-c", "listen_addresses="+host, "-c", "unix_socket_directories=", "-c", "max_connections=500")
			return cmd
		},
		ready: func(ctx context.Context) error {
			conn, err := pgx.Connect(ctx, u.String())
			if err == nil {
				err = conn.Close(ctx)
			}
			return err
		}}, run, os.MkdirAll(dir, 0o700)
}

// believe lets in who comes from the network of host.
func believe(dir, host string) error {
	f, err := os.OpenFile(filepath.Join(dir, "pg_hba.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "host all all %s/24 trust\n", host)
	return errors.Join(err, f.Close())
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

// Up starts it and comes back when it serves.
func (d *Daemon) Up(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, upTimeout)
	defer cancel()
	if err := d.start(); err != nil {
		return err
	}
	for {
		err := d.ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not come up: %w", d.Name, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (d *Daemon) start() error {
	cmd := d.command()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := cmd.Start(); err != nil {
		return err
	}
	d.cmd = cmd
	return nil
}

// Keep starts it again whenever it ends by itself, as a supervisor does, until
// ctx ends. It answers how often.
func (d *Daemon) Keep(ctx context.Context) (ends int, err error) {
	for Until(ctx, time.Now().Add(restartDelay)) {
		var left unix.Siginfo
		err := unix.Waitid(unix.P_PID, d.cmd.Process.Pid, &left, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if err != nil {
			return ends, err
		}
		if left.Signo == 0 { // it runs
			continue
		}
		ends++
		d.cmd.Wait() //nolint:errcheck // it has ended, whatever it says
		if err := d.start(); err != nil {
			return ends, err
		}
	}
	return ends, nil
}

// Kill ends it and its children by SIGKILL, and comes back when they are gone.
func (d *Daemon) Kill() error {
	if d.cmd == nil {
		return nil
	}
	all, err := Tree(d.cmd.Process.Pid)
	if err != nil {
		return err
	}
	all.Kill()
	d.cmd.Wait() //nolint:errcheck // by the kill
	d.cmd = nil
	return nil
}
