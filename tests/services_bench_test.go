package tests

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/local"
	"github.com/micro/platform/internal/seal"
	"github.com/micro/platform/tests/platform"
)

const (
	// manyServices are split among namespaces, whose networks have room for 61
	// containers each.
	manyServices  = 200
	manyOfThem    = 4
	manyWait      = 10 * time.Minute
	idleAfter     = 30 * time.Second
	idleFor       = 30 * time.Second
	ticksASecond  = 100 // of /proc/<pid>/stat
	statUserTicks = 11  // its place behind the name, and that of the kernel's is the next
)

// BenchmarkServices is how long it takes until two hundred services of one image
// run and have registered, and what the platform's processes and Docker take of a
// core while nothing happens then.
func BenchmarkServices(b *testing.B) {
	dir := b.TempDir()
	servers, err := local.Start(b.Context(), local.Options{DataDir: filepath.Join(dir, "server"), User: "postgres", RedisServer: "redis-server"}, app.Platform{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { servers.Stop(context.Background()) })
	p, err := platform.Start(b.Context(), platform.Config{Micro: micro, Dir: dir, Apart: true, Servers: &servers.Platform})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		p.Stop()
		ctx, cancel := context.WithTimeout(context.Background(), manyWait)
		defer cancel()
		if err := p.Remove(ctx); err != nil {
			b.Error(err)
		}
	})
	image, namespaces := oneImage(b, p, servers.Platform.PostgresURL.Reveal())
	for b.Loop() {
		began := time.Now()
		startMany(b, servers.Platform, image, namespaces)
		awaitMany(b, servers.Platform.PostgresURL.Reveal())
		b.ReportMetric(time.Since(began).Seconds(), fmt.Sprintf("s/%d-running", manyServices))
	}
	<-time.After(idleAfter)
	used := map[string]float64{}
	pids := p.Processes()
	pids["dockerd"] = dockerd(b)
	for name, pid := range pids {
		used[name] = -seconds(b, pid)
	}
	<-time.After(idleFor)
	total := 0.0
	for name, pid := range pids {
		used[name] += seconds(b, pid)
		percent := 100 * used[name] / idleFor.Seconds()
		if name != "dockerd" {
			total += percent
		}
		b.ReportMetric(percent, "%core/"+name)
	}
	b.ReportMetric(total, "%core/all-of-micro")
}

// oneImage signs up the namespaces and deploys a service in the first, and answers
// its image.
func oneImage(b *testing.B, p *platform.Platform, url string) (image string, namespaces []string) {
	b.Helper()
	for i := range manyOfThem {
		name := fmt.Sprintf("many-%d", i)
		x, err := p.Person(b.Context(), name)
		if err != nil {
			b.Fatal(err)
		}
		if out, err := x.Signup(b.Context(), "correct horse battery staple", name); err != nil {
			b.Fatal(err, out)
		}
		if i == 0 {
			must(b, x, "micro new greeter && micro run ./greeter")
		}
		namespaces = append(namespaces, name)
	}
	db, err := pgx.Connect(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close(b.Context())
	if err := db.QueryRow(b.Context(), `SELECT image FROM runtime.revisions WHERE name = 'greeter'`).Scan(&image); err != nil {
		b.Fatal(err)
	}
	return image, namespaces
}

// startMany writes down what would be the next revision of as many services, each
// as far as its image is built.
func startMany(b *testing.B, at app.Platform, image string, namespaces []string) {
	b.Helper()
	box, err := seal.New(at.Secrets(), "runtime")
	if err != nil {
		b.Fatal(err)
	}
	db, err := pgx.Connect(b.Context(), at.PostgresURL.Reveal())
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close(b.Context())
	err = pgx.BeginFunc(b.Context(), db, func(tx pgx.Tx) error {
		for i := range manyServices {
			ns, name := namespaces[i%len(namespaces)], fmt.Sprintf("service-%d", i)
			spec := box.Seal([]byte(`{"instances":1}`), ns+"/"+name+"/latest")
			const service = `
				INSERT INTO runtime.services (namespace, name, version, source, spec, owner, last_revision)
				VALUES ($1, $2, 'latest', 'source://greeter:latest', $3, 'owner', 1)`
			if _, err := tx.Exec(b.Context(), service, ns, name, spec); err != nil {
				return err
			}
			const revision = `
				INSERT INTO runtime.revisions (namespace, name, version, number, state, source, spec, image)
				VALUES ($1, $2, 'latest', 1, 'starting', 'source://greeter:latest', $3, $4)`
			if _, err := tx.Exec(b.Context(), revision, ns, name, spec, image); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

// awaitMany waits until all of them run, which is when they have registered.
func awaitMany(b *testing.B, url string) {
	b.Helper()
	db, err := pgx.Connect(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close(b.Context())
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(manyWait); ; <-tick.C {
		var running, failed int
		var why string
		const q = `
			SELECT count(*) FILTER (WHERE state = 'running'), count(*) FILTER (WHERE state = 'error'),
				coalesce(min(reason) FILTER (WHERE state = 'error'), '')
			FROM runtime.revisions WHERE name LIKE 'service-%'`
		if err := db.QueryRow(b.Context(), q).Scan(&running, &failed, &why); err != nil {
			b.Fatal(err)
		}
		if running == manyServices {
			return
		}
		if failed > 0 || time.Now().After(deadline) {
			b.Fatalf("%d of %d run, %d have failed: %s", running, manyServices, failed, why)
		}
	}
}

// seconds is the time that a process has had of processors.
func seconds(b *testing.B, pid int) float64 {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := bytes.Cut(stat, []byte(") ")) // a name may have spaces
	fields := strings.Fields(string(rest))
	ticks := 0
	for _, f := range fields[statUserTicks : statUserTicks+2] {
		n, err := strconv.Atoi(f)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return float64(ticks) / ticksASecond
}

// dockerd is Docker's process on this host.
func dockerd(b *testing.B) int {
	b.Helper()
	pid, err := os.ReadFile("/var/run/docker.pid")
	if err != nil {
		b.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(pid)))
	if err != nil {
		b.Fatal(err)
	}
	return n
}
