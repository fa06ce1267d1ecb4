package tests

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/local"
	"github.com/micro/platform/tests/platform"
	"github.com/micro/platform/tests/platform/platformtest"
)

// T29: TestErasure fills a namespace, deletes it, kills the server while it is
// erased, and looks for what is left: in every table, in every key of Redis, in
// the bucket and in Docker. Nobody has to add a new table here.
func TestErasure(t *testing.T) {
	t.Parallel()
	const undo = 15 * time.Second
	l := newLeaver(t, "MICRO_NAMESPACES_UNDO="+undo.String(), "MICRO_NAMESPACES_SETTLE=3s", "MICRO_NAMESPACES_RETRY=200ms")
	for _, x := range []*platform.Person{l.zoe, l.neighbour} {
		l.fill(t, x)
	}
	for what, found := range map[string][]string{"Postgres": l.inPostgres(t), "Redis": l.inRedis(t), "the bucket": l.inBucket(t), "Docker": l.inDocker(t)} {
		if len(found) == 0 {
			t.Fatalf("the namespace has nothing in %s, so that this test would show nothing", what)
		}
	}
	token := readToken(t, l.zoe)

	t.Run("deleted and undeleted", func(t *testing.T) {
		refuse(t, l.zoe, "wants the name", "micro namespace delete "+leaving+" --confirm another")
		expect(t, l.zoe, "will be erased at", "micro namespace delete "+leaving+" --confirm "+leaving+" --reason 'moving on'")
		l.soon(t, "calls are refused", 2*time.Second, func() bool { return l.status(t, token) == http.StatusForbidden })
		refuse(t, l.zoe, "undelete", "micro store read key")
		expect(t, l.zoe, `"state": "deleting"`, "micro namespace status -o json")
		expect(t, l.zoe, "namespaces.Namespaces.Delete", "micro audit")
		l.soon(t, "containers have stopped", time.Minute, func() bool { return len(l.running(t)) == 0 })
		expect(t, l.zoe, "is not deleted", "micro namespace undelete "+leaving)
		l.soon(t, "calls are taken", time.Minute, func() bool { return l.status(t, token) == http.StatusOK })
		expect(t, l.zoe, "value of "+leaving, "micro store read key")
	})

	expect(t, l.zoe, "will be erased at", "micro namespace delete "+leaving+" --confirm "+leaving)
	l.soon(t, "the erasure has begun", 2*undo, func() bool { return l.state(t) == "erasing" })
	l.p.Kill("server")
	if err := l.p.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.soon(t, "it is erased", 3*time.Minute, func() bool { return l.state(t) == "erased" })

	for what, find := range map[string]func(*testing.T) []string{"Postgres": l.inPostgres, "Redis": l.inRedis, "the bucket": l.inBucket, "Docker": l.inDocker} {
		var found []string
		l.soon(t, "nothing is left in "+what, 2*time.Minute, func() bool { found = find(t); return len(found) == 0 })
		for _, x := range found {
			t.Errorf("left in %s: %s", what, x)
		}
	}
	expect(t, l.root, leaving, "micro admin erasures | grep erased")
	expect(t, l.root, "namespaces.Namespaces.Erase", "micro audit")
	if got := l.status(t, token); got == http.StatusOK {
		t.Error("an old token is good")
	}
	refuse(t, l.zoe, "no such account", "micro login --username zoe@example.com --password '"+secret+"'")
	refuse(t, l.neighbour, "is taken", "micro namespace create "+leaving)
	expect(t, l.neighbour, "value of neighbour-space", "micro store read key")
	expect(t, l.neighbour, "Hello Jane", "micro helloworld call --name=Jane")
}

const (
	// leaving is the namespace that is erased. Nothing else has it in its name.
	leaving = "zanzibar-lane"
	secret  = "correct horse battery staple"
)

// tombstones are the tables that may know that there was such a namespace.
var tombstones = []string{"namespaces.deletions", "namespaces.erasures", "auth.erased", "audit.erased"}

// leaver is a server whose databases are at hand, with somebody who leaves it.
type leaver struct {
	p                    *platform.Platform
	zoe, neighbour, root *platform.Person
	servers              app.Platform
	bucket               string
}

func newLeaver(t *testing.T, env ...string) *leaver {
	t.Helper()
	dir := t.TempDir()
	servers, err := local.Start(t.Context(), local.Options{DataDir: filepath.Join(dir, "databases"), User: "postgres", RedisServer: "redis-server"}, app.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { servers.Stop(context.Background()) })
	at := servers.Platform
	l := &leaver{servers: at, bucket: filepath.Join(dir, "server", "bucket")}
	env = append(env, "MICRO_POSTGRES_URL="+at.PostgresURL.Reveal(), "MICRO_REDIS_URL="+at.RedisURL.Reveal(), "MICRO_DURABLE_REDIS_URL="+at.DurableRedisURL.Reveal())
	l.p = platformtest.Start(t, platform.Config{Micro: micro, Dir: dir, Env: env})
	for name, x := range map[string]**platform.Person{"zoe": &l.zoe, "neighbour": &l.neighbour, "root": &l.root} {
		if *x, err = l.p.Person(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	for x, namespace := range map[*platform.Person]string{l.zoe: leaving, l.neighbour: "neighbour-space"} {
		if out, err := x.Signup(t.Context(), secret, namespace); err != nil {
			t.Fatalf("sign up: %v\n%s", err, out)
		}
	}
	expect(t, l.root, "", "micro login --username admin --password micro")
	return l
}

// fill puts something into every component.
func (l *leaver) fill(t *testing.T, x *platform.Person) {
	t.Helper()
	name := leaving
	if x == l.neighbour {
		name = "neighbour-space"
	}
	for _, line := range []string{
		"micro config set a.b value-of-" + name, "micro config set --secret a.key hunter2",
		"micro store write key value of " + name, "micro store write --table another key x",
		"echo blob > f && micro store blob put folder/blob f",
		"micro events publish orders/new '{}'",
		"micro auth create account robot --secret hunter2hunter2", "micro auth create rule --resource 'service:web:Web.Call' web",
		"micro auth token create ci --grant 'store:*:read'", "micro namespace invite somebody@example.com --role viewer",
		"micro budget set 10", "micro new helloworld && micro run ./helloworld", "micro helloworld call --name=Jane",
	} {
		expect(t, x, "", line)
	}
}

// soon waits until something holds.
func (l *leaver) soon(t *testing.T, what string, within time.Duration, holds func() bool) {
	t.Helper()
	for started := time.Now(); !holds(); <-time.After(50 * time.Millisecond) {
		if time.Since(started) > within {
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}

// readToken answers the access token of somebody at a terminal.
func readToken(t *testing.T, x *platform.Person) string {
	t.Helper()
	out, err := sh(t.Context(), x, "micro user token")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(out)
}

// status is what a call of the namespace's service comes to.
func (l *leaver) status(t *testing.T, token string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+l.p.API+"/helloworld/Call", strings.NewReader(`{"name":"Jane"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	rsp.Body.Close()
	return rsp.StatusCode
}

func (l *leaver) postgres(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), l.servers.PostgresURL.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// state is how far the deletion has come.
func (l *leaver) state(t *testing.T) (state string) {
	t.Helper()
	conn := l.postgres(t)
	defer conn.Close(t.Context())
	err := conn.QueryRow(t.Context(), `SELECT coalesce((SELECT state FROM namespaces.deletions WHERE namespace = $1), '')`, leaving).Scan(&state)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// inPostgres answers the tables that have the name, or its owner's address, in any
// row, in any column, but for the tombstones. The operators' log may say what was done.
func (l *leaver) inPostgres(t *testing.T) (found []string) {
	t.Helper()
	conn := l.postgres(t)
	defer conn.Close(t.Context())
	const tables = `
		SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables
		WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')
		ORDER BY 1`
	rows, _ := conn.Query(t.Context(), tables)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if slices.Contains(tombstones, name) {
			continue
		}
		q := `SELECT coalesce((SELECT left(x::text, 500) FROM ` + name + ` AS x WHERE x::text LIKE ANY($1) LIMIT 1), '')`
		if name == "audit.entries" {
			q = strings.Replace(q, "WHERE", "WHERE namespace <> 'micro' AND", 1) // the operators' log
		}
		var row string
		if err := conn.QueryRow(t.Context(), q, []string{"%" + leaving + "%", "%" + l.zoe.Email + "%"}).Scan(&row); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if row != "" {
			found = append(found, name+" "+row)
		}
	}
	return found
}

// inRedis answers the keys that have the name in them or in what they hold.
func (l *leaver) inRedis(t *testing.T) (found []string) {
	t.Helper()
	for _, url := range []string{l.servers.RedisURL.Reveal(), l.servers.DurableRedisURL.Reveal()} {
		o, err := redis.ParseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		c := redis.NewClient(o)
		defer c.Close()
		keys := c.Scan(t.Context(), 0, "*", 1000).Iterator()
		for keys.Next(t.Context()) {
			held, _ := c.Dump(t.Context(), keys.Val()).Bytes()
			if strings.Contains(keys.Val(), leaving) || bytes.Contains(held, []byte(leaving)) {
				found = append(found, keys.Val())
			}
		}
		if err := keys.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// inBucket answers files and folders that have the name, or hold it.
func (l *leaver) inBucket(t *testing.T) (found []string) {
	t.Helper()
	err := filepath.WalkDir(l.bucket, func(path string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) { // removed while we look
			return nil
		}
		if err != nil {
			return err
		}
		var held []byte
		if !d.IsDir() {
			held, _ = os.ReadFile(path)
		}
		if strings.Contains(path, leaving) || bytes.Contains(held, []byte(leaving)) {
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// running answers the containers of the namespace that run.
func (l *leaver) running(t *testing.T) []string {
	return l.docker(t, "container", "ls", "-q", "--filter", "label=micro.namespace="+leaving)
}

// inDocker answers what bears the name as its label, or in its own name.
func (l *leaver) inDocker(t *testing.T) (found []string) {
	t.Helper()
	for _, kind := range [][]string{{"service", "ls"}, {"container", "ls", "-a"}, {"network", "ls"}, {"volume", "ls"}, {"image", "ls"}} {
		for _, line := range l.docker(t, append(kind, "--filter", "label=micro.namespace="+leaving, "-q")...) {
			found = append(found, fmt.Sprint(kind[0], " ", line))
		}
	}
	return found
}

// docker answers the lines of a listing of this cluster's things.
func (l *leaver) docker(t *testing.T, args ...string) []string {
	t.Helper()
	cluster, err := l.p.Cluster()
	if err != nil {
		t.Fatal(err)
	}
	out, err := platform.Docker(t.Context(), append(args, "--filter", "label=micro.cluster="+cluster)...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(out)
}
