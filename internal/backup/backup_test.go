package backup

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/local"
	"github.com/micro/platform/internal/pg"
	"github.com/micro/platform/internal/redistest"
)

// servers starts the servers of a platform, empty, in a directory that Postgres'
// own user can reach.
func servers(t *testing.T, adopt *Archive) app.Platform {
	t.Helper()
	dir, err := os.MkdirTemp("", "micro-backup-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	o := local.Options{DataDir: filepath.Join(dir, "server"), User: "postgres", RedisServer: "redis-server"}
	if adopt != nil {
		if err := local.Adopt(o, adopt.ClusterSecret, adopt.Head.Cluster); err != nil {
			t.Fatal(err)
		}
	}
	s, err := local.Start(t.Context(), o, app.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(context.Background()) })
	return s.Platform
}

func open(t *testing.T, p app.Platform) (*pgx.Conn, redis.UniversalClient) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), p.PostgresURL.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	c, err := app.OpenRedis(p.DurableRedisURL.Reveal(), "test", false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return conn, c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fill writes one thing of every kind.
func fill(t *testing.T, p app.Platform) (blob []byte) {
	t.Helper()
	ctx := t.Context()
	must(t, pg.Migrate(ctx, p.PostgresURL.Reveal(), p.Secrets()))
	conn, c := open(t, p)
	_, err := conn.Exec(ctx, `CREATE TABLE config.kept AS SELECT n, repeat('x', 100) AS text FROM generate_series(1, 20000) n`)
	must(t, err)
	for i := range 3 * batch {
		must(t, c.Set(ctx, fmt.Sprintf("record:\x00%d", i), []byte{0, 255, byte(i)}, 0).Err())
	}
	must(t, c.Set(ctx, "mortal", "soon", time.Hour).Err())
	must(t, c.ZAdd(ctx, "index", redis.Z{Score: 1.5, Member: "a"}).Err())
	must(t, c.XAdd(ctx, &redis.XAddArgs{Stream: "topic", Values: []string{"k", "v"}}).Err())
	must(t, c.XGroupCreate(ctx, "topic", "group", "0").Err())
	must(t, c.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "group", Consumer: "one", Streams: []string{"topic", ">"}}).Err())
	bucket, err := app.OpenBucket(ctx, p.BucketURL)
	must(t, err)
	defer bucket.Close()
	blob = make([]byte, pieceSize+17)
	rand.Read(blob)
	must(t, bucket.WriteAll(ctx, "sources/acme/ünïcode #1", blob, nil))
	must(t, bucket.WriteAll(ctx, "empty", nil, nil))
	return blob
}

func archive(t *testing.T, p app.Platform, to ...age.Recipient) []byte {
	t.Helper()
	var out bytes.Buffer
	_, err := Make(t.Context(), p, &out, to, Options{Version: "test"})
	must(t, err)
	return out.Bytes()
}

// TestRoundTrip makes a platform of an archive of another.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	p := servers(t, nil)
	blob := fill(t, p)
	public, secret, err := NewKey()
	must(t, err)
	to, err := To([]string{public}, "")
	must(t, err)
	made := archive(t, p, to...)
	if bytes.Contains(made, []byte(p.ClusterSecret.Reveal())) {
		t.Error("the cluster secret can be read in the archive")
	}
	keyFile := filepath.Join(t.TempDir(), "key")
	must(t, os.WriteFile(keyFile, []byte("# a comment\n"+secret+"\n"), 0o600))
	with, err := With(keyFile, "")
	must(t, err)
	a, err := Open(bytes.NewReader(made), with)
	must(t, err)
	defer a.Close()
	again := servers(t, a)
	end, err := a.Restore(ctx, again, Options{RedisServer: "redis-server"})
	must(t, err)
	if end.Tables["config.kept"] != 20000 || end.Objects != 2 || end.AllKeys() != 3*batch+3 {
		t.Errorf("restored %d rows, %d objects, %d keys", end.Tables["config.kept"], end.Objects, end.AllKeys())
	}
	checkContents(t, again, blob)
	// The components' roles can log in, and change rows.
	pool, err := pg.Open(ctx, again.PostgresURL.Reveal(), again.Secrets(), "config")
	must(t, err)
	defer pool.Close()
	if _, err := pool.Exec(ctx, "DELETE FROM kept WHERE n = 1"); err != nil {
		t.Errorf("a component cannot work with what was restored: %v", err)
	}

	b, err := Open(bytes.NewReader(made), with)
	must(t, err)
	defer b.Close()
	if _, err := b.Restore(ctx, again, Options{RedisServer: "redis-server"}); err == nil || !strings.Contains(err.Error(), "a restore needs an empty one") {
		t.Errorf("restore over a platform: %v", err)
	}
	c, err := Open(bytes.NewReader(made), with)
	must(t, err)
	defer c.Close()
	again.Cluster = "0123abcd"
	if _, err := c.Restore(ctx, again, Options{}); err == nil || !strings.Contains(err.Error(), "MICRO_CLUSTER_ID must be set") {
		t.Errorf("restore as another cluster: %v", err)
	}
}

func checkContents(t *testing.T, p app.Platform, blob []byte) {
	t.Helper()
	ctx := t.Context()
	_, c := open(t, p)
	if got, err := c.Get(ctx, "record:\x007").Bytes(); err != nil || !bytes.Equal(got, []byte{0, 255, 7}) {
		t.Errorf("record: %q, %v", got, err)
	}
	if life, err := c.TTL(ctx, "mortal").Result(); err != nil || life <= 0 || life > time.Hour {
		t.Errorf("a record with an end lives %v, %v", life, err)
	}
	if life, err := c.TTL(ctx, "index").Result(); err != nil || life != -1 {
		t.Errorf("a record without an end lives %v, %v", life, err)
	}
	pending, err := c.XPending(ctx, "topic", "group").Result()
	if err != nil || pending.Count != 1 || pending.Consumers["one"] != 1 {
		t.Errorf("a group's state is %+v, %v", pending, err)
	}
	bucket, err := app.OpenBucket(ctx, p.BucketURL)
	must(t, err)
	defer bucket.Close()
	if got, err := bucket.ReadAll(ctx, "sources/acme/ünïcode #1"); err != nil || !bytes.Equal(got, blob) {
		t.Errorf("an object has %d bytes of %d, %v", len(got), len(blob), err)
	}
	if got, err := bucket.ReadAll(ctx, "empty"); err != nil || len(got) != 0 {
		t.Errorf("an empty object has %d bytes, %v", len(got), err)
	}
}

// TestDamage shows that an archive that was cut off or changed is no backup.
func TestDamage(t *testing.T) {
	t.Parallel()
	to, err := To(nil, "a passphrase")
	must(t, err)
	with, err := With("", "a passphrase")
	must(t, err)
	whole := small(t, to, true)
	if err := drain(whole, with); err != nil {
		t.Fatalf("a whole archive: %v", err)
	}
	changed := bytes.Clone(whole)
	changed[len(changed)-20] ^= 1
	other, err := With("", "another")
	must(t, err)
	for name, tt := range map[string]struct {
		archive []byte
		keys    []age.Identity
	}{
		"cut":              {whole[:len(whole)-1], with},
		"without its end":  {small(t, to, false), with},
		"changed":          {changed, with},
		"other passphrase": {whole, other},
		"no archive":       {[]byte("hello"), with},
		"empty":            {nil, with},
	} {
		if err := drain(tt.archive, tt.keys); err == nil {
			t.Errorf("%s: read without an error", name)
		} else {
			t.Logf("%s: %v", name, err)
		}
	}
}

// small is an archive of nothing but a stream in two pieces.
func small(t *testing.T, to []age.Recipient, whole bool) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := newWriter(&out, time.Now(), to)
	must(t, err)
	must(t, w.json(headName, Head{Format: format}))
	must(t, w.entry(secretName, 1, strings.NewReader("s")))
	must(t, w.pieces(postgresName, bytes.NewReader(make([]byte, pieceSize+1))))
	if whole {
		must(t, w.json(endName, End{}))
	}
	must(t, w.close())
	return out.Bytes()
}

// drain reads all of an archive.
func drain(archive []byte, keys []age.Identity) error {
	a, err := Open(bytes.NewReader(archive), keys)
	if err != nil {
		return err
	}
	defer a.Close()
	n, err := io.Copy(io.Discard, a.r.pieces(postgresName))
	if err != nil {
		return err
	}
	if n != pieceSize+1 {
		return fmt.Errorf("the stream has %d bytes", n)
	}
	return a.end(new(End))
}

// TestKeys shows what is said of keys that are none.
func TestKeys(t *testing.T) {
	t.Parallel()
	if _, err := To([]string{"age1nonsense"}, ""); err == nil || !strings.Contains(err.Error(), "age1nonsense") {
		t.Errorf("a public key that is none: %v", err)
	}
	file := filepath.Join(t.TempDir(), "key")
	must(t, os.WriteFile(file, []byte("nonsense\n"), 0o600))
	if _, err := With(file, ""); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a secret key that is none: %v", err)
	}
	must(t, os.WriteFile(file, []byte("\n"), 0o600))
	if _, err := Passphrase(file); err == nil {
		t.Error("an empty passphrase is taken")
	}
}

// TestRedisWithoutPassword shows that a Redis is backed up which has no password
// and would refuse one.
func TestRedisWithoutPassword(t *testing.T) {
	t.Parallel()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	w, err := newWriter(io.Discard, time.Now(), []age.Recipient{id.Recipient()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.redis(t.Context(), redistest.URL(t), Options{Tell: t.Logf}); err != nil {
		t.Error(err)
	}
}
