package local

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	goredis "github.com/redis/go-redis/v9"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/settings"
)

func options(t *testing.T) Options {
	return Options{DataDir: filepath.Join(t.TempDir(), "server"), User: "postgres", RedisServer: "redis-server"}
}

// startServers starts durable servers and stops them with the test.
func startServers(t *testing.T, o Options) *Servers {
	t.Helper()
	s, err := Start(t.Context(), o, app.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(context.Background()) })
	return s
}

// TestStart shows that the servers answer, keep what Postgres was told over a
// restart, run as somebody who is not root, and are gone after Stop.
func TestStart(t *testing.T) {
	t.Parallel()
	o := options(t)
	s := startServers(t, o)
	if !s.Fresh {
		t.Error("a new data directory is not fresh")
	}
	query(t, s, "CREATE TABLE kept AS SELECT 1 AS n")
	c := client(t, s.Platform.RedisURL.Reveal())
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
	began := time.Now()
	s.Stop(t.Context())
	t.Logf("stopped in %s", time.Since(began))
	if err := c.Ping(t.Context()).Err(); err == nil {
		t.Error("Redis answers after Stop")
	}
	again := startServers(t, o)
	if again.Fresh {
		t.Error("a used data directory is fresh")
	}
	query(t, again, "INSERT INTO kept SELECT n FROM kept")
}

func query(t *testing.T, s *Servers, q string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.Platform.PostgresURL.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), q); err != nil {
		t.Fatal(err)
	}
}

func TestEndedTellsWhich(t *testing.T) {
	t.Parallel()
	s := startServers(t, options(t))
	query(t, s, "SELECT 1")
	pid := postmaster(t, s.Dir)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-s.Ended():
		if !strings.Contains(err.Error(), "Postgres") {
			t.Errorf("Ended = %v, want Postgres named", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("nobody tells that Postgres was killed")
	}
}

// TestDurableRedisKeeps shows that what was acknowledged survives the server's
// death by SIGKILL, and that the volatile one keeps nothing.
func TestDurableRedisKeeps(t *testing.T) {
	t.Parallel()
	o := options(t)
	s := startServers(t, o)
	kept := client(t, s.Platform.DurableRedisURL.Reveal())
	if err := kept.Set(t.Context(), "key", "value", 0).Err(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(o.DataDir, "redis", redisPID))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-s.Ended(); !strings.Contains(err.Error(), "durable Redis") {
		t.Errorf("Ended = %v, want durable Redis named", err)
	}
	s.Stop(t.Context())
	again := startServers(t, o)
	got, err := client(t, again.Platform.DurableRedisURL.Reveal()).Get(t.Context(), "key").Result()
	if err != nil || got != "value" {
		t.Errorf("after the kill the key is %q, %v", got, err)
	}
}

func client(t *testing.T, url string) *goredis.Client {
	t.Helper()
	o, err := goredis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c := goredis.NewClient(o)
	t.Cleanup(func() { c.Close() })
	return c
}

func postmaster(t *testing.T, dir string) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "postgres", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid := 0
	for _, c := range strings.SplitN(string(b), "\n", 2)[0] {
		pid = pid*10 + int(c-'0')
	}
	return pid
}

// TestShutdown starts a process that holds a data directory, as a server does,
// and tells it to stop.
func TestShutdown(t *testing.T) {
	t.Parallel()
	o := options(t)
	if err := Shutdown(t.Context(), o); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Shutdown of nothing = %v, want %v", err, ErrNotRunning)
	}
	d, err := openDir(o.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	d.close()
	if err := Shutdown(t.Context(), o); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Shutdown of an ended server = %v, want %v", err, ErrNotRunning)
	}
	server := exec.CommandContext(t.Context(), "flock", filepath.Join(o.DataDir, "lock"), "sh", "-c", `echo $$ >"$1"; exec sleep 60`, "sh", filepath.Join(o.DataDir, "lock"))
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	own := strconv.Itoa(os.Getpid())
	for pid := own; pid == "" || pid == own; { // until it has written its own
		b, err := os.ReadFile(filepath.Join(o.DataDir, "lock"))
		if err != nil {
			t.Fatal(err)
		}
		pid = strings.TrimSpace(string(b))
	}
	if err := Shutdown(t.Context(), o); err != nil {
		t.Error(err)
	}
	server.Wait() //nolint:errcheck // it was told to end
}

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		spoil  func(t *testing.T, o *Options)
		reason string
	}{
		{"another version's directory", func(t *testing.T, o *Options) { write(t, o.DataDir, "format", "99") }, "belongs to another version"},
		{"another Postgres' directory", func(t *testing.T, o *Options) { write(t, o.DataDir, "postgres/PG_VERSION", "9.6\n") }, "made by PostgreSQL 9.6"},
		{"in use", func(t *testing.T, o *Options) {
			d, err := openDir(o.DataDir)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(d.close)
		}, "another micro server uses"},
		{"no Redis", func(_ *testing.T, o *Options) { o.RedisServer = "no-such-redis" }, "install the package redis-server"},
		{"no Postgres", func(t *testing.T, o *Options) { o.PostgresBin = t.TempDir() }, "install the package postgresql"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			tt.spoil(t, &o)
			s, err := Start(t.Context(), o, app.Platform{})
			if err == nil {
				s.Stop(t.Context())
			}
			if err == nil || !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("Start = %v, want %q", err, tt.reason)
			}
		})
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestNothingToStart shows that a server whose databases are named needs no
// user to run them as.
func TestNothingToStart(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.User = "nobody-of-this-name"
	s, err := Start(t.Context(), o, app.Platform{PostgresURL: "postgres://elsewhere", RedisURL: "redis://elsewhere", DurableRedisURL: "redis://elsewhere"})
	if err != nil {
		t.Fatal(err)
	}
	s.Stop(t.Context())
	if s.Platform.ClusterSecret == "" || s.Platform.BucketURL == "" {
		t.Error("there is no cluster secret or no bucket")
	}
}

// TestClusterIDStays shows that the id survives an exchange of the cluster secret,
// and is not made up in the middle of one.
func TestClusterIDStays(t *testing.T) {
	t.Parallel()
	o := options(t)
	elsewhere := app.Platform{PostgresURL: "postgres://elsewhere", RedisURL: "redis://elsewhere", DurableRedisURL: "redis://elsewhere", BucketURL: "mem://"}
	id := func(o Options, secret, also settings.Secret) string {
		t.Helper()
		p := elsewhere
		p.ClusterSecret, p.ClusterAlso = secret, also
		s, err := Start(t.Context(), o, p)
		if err != nil {
			t.Fatal(err)
		}
		s.Stop(t.Context())
		attached, _, err := Attach(t.Context(), o, p)
		if err != nil || attached.Cluster != s.Platform.Cluster {
			t.Errorf("attached to %q, %v, want %q", attached.Cluster, err, s.Platform.Cluster)
		}
		return s.Platform.Cluster
	}
	first := id(o, "the first cluster secret of this test", "")
	if want := (app.Platform{ClusterSecret: "the first cluster secret of this test"}).ClusterID(); first != want {
		t.Errorf("id = %q, want %q", first, want)
	}
	if got := id(o, "the second cluster secret of this test", "the first cluster secret of this test"); got != first {
		t.Errorf("id with both secrets = %q, want %q", got, first)
	}
	if got := id(o, "the second cluster secret of this test", ""); got != first {
		t.Errorf("id with the second secret = %q, want %q", got, first)
	}
	if got := id(options(t), "the second cluster secret of this test", "the first cluster secret of this test"); got != "" {
		t.Errorf("id %q was made up", got)
	}
}
