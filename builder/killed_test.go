package builder

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"gocloud.dev/blob/fileblob"

	"github.com/micro/platform/internal/disktest"
	"github.com/micro/platform/internal/dockerhost"
	"github.com/micro/platform/internal/pg"
	"github.com/micro/platform/internal/pgtest"
	"github.com/micro/platform/internal/seal"
	builderpb "github.com/micro/platform/proto/builder"
)

// workerEnv makes the test binary a builder: its database, bucket, cluster and
// directory.
const workerEnv = "MICRO_BUILDER_TEST_WORKER"

func TestMain(m *testing.M) {
	if given := os.Getenv(workerEnv); given != "" {
		fmt.Fprintln(os.Stderr, work(strings.Split(given, "\n")))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// work builds until it is killed.
func work(given []string) error {
	ctx := context.Background()
	at, err := url.Parse(os.Getenv("MICRO_TEST_POSTGRES_URL"))
	if err != nil {
		return err
	}
	at.Path = given[0]
	pool, err := pg.Open(ctx, at.String(), seal.Cluster{Secret: pgtest.Secret}, "builder")
	if err != nil {
		return err
	}
	bucket, err := fileblob.OpenBucket(given[1], nil)
	if err != nil {
		return err
	}
	docker, err := dockerhost.New()
	if err != nil {
		return err
	}
	s, err := service(pool, docker, given[2], options())
	if err != nil {
		return err
	}
	w, err := newWorkers(s, bucket, given[3], slog.Default())
	if err != nil {
		return err
	}
	if err := w.start(ctx); err != nil {
		return err
	}
	fmt.Println("works")
	select {}
}

// TestBuilderIsKilled kills a builder while its container compiles: another one
// builds it to the end, and the first one's container is gone.
func TestBuilderIsKilled(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir, sources := t.TempDir(), t.TempDir()
	reach(t, dir)
	bucket, err := fileblob.OpenBucket(sources, nil)
	if err != nil {
		t.Fatal(err)
	}
	b.bucket = bucket
	b.workers.bucket = bucket
	b.upload(t, "up", hello)
	first := exec.Command(os.Args[0])
	first.Env = append(os.Environ(), workerEnv+"="+strings.Join([]string{b.pool.Config().ConnConfig.Database, sources, b.cluster, dir}, "\n"))
	first.Stderr = t.Output()
	said, err := first.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	defer first.Wait()         //nolint:errcheck // it was killed
	defer first.Process.Kill() //nolint:errcheck // if it is still there
	if line, err := bufio.NewReader(said).ReadString('\n'); err != nil {
		t.Fatalf("the first builder says %q, %v", line, err)
	}
	if _, err := b.Build(component(t), &builderpb.BuildRequest{Id: id("alpha", 1), Upload: "up"}); err != nil {
		t.Fatal(err)
	}
	killed := b.containers(t, 1, true)
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := b.workers.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	go b.workers.recoverLoop(t.Context()) //nolint:errcheck // it has none
	if s := b.await(t, id("alpha", 1)); s.GetPhase() != builderpb.State_SUCCEEDED {
		t.Errorf("state %v", s)
	}
	t.Logf("built by another %v after the first one was killed", time.Since(began))
	var attempt int
	if err := b.pool.QueryRow(t.Context(), "SELECT attempt FROM builder.builds").Scan(&attempt); err != nil || attempt != 2 {
		t.Errorf("attempt %d, %v; want 2", attempt, err)
	}
	if left := b.containers(t, 0, true); len(left) > 0 {
		t.Errorf("containers %v are left, of those of the first builder %v", left, killed)
	}
}

// containers waits until there are so many build containers, or if not all count,
// until so many run.
func (b *bundle) containers(t *testing.T, n int, all bool) []string {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		found, err := b.docker.ContainerList(t.Context(), container.ListOptions{All: all, Filters: filters.NewArgs(filters.Arg("label", "micro.cluster="+b.cluster))})
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, c := range found {
			ids = append(ids, c.ID)
		}
		if len(ids) == n || time.Now().After(deadline) {
			return ids
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("the test ended")
		}
	}
}

// TestDiskFull: a build that finds the disk of its host full is tried again, and
// goes through when there is room.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root may mount small disks")
	}
	b := setup(t)
	disk := disktest.New(t, b.workers.dir)
	if err := disk.Fill(); err != nil {
		t.Fatal(err)
	}
	if err := b.workers.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.upload(t, "up", hello)
	if _, err := b.Build(component(t), &builderpb.BuildRequest{Id: id("alpha", 1), Upload: "up"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(component(t), time.Minute)
	defer cancel()
	s := &recorder[builderpb.State]{ctx: ctx, each: func(x *builderpb.State) {
		if x.GetStep() == "waiting for another attempt" {
			disk.Free() //nolint:errcheck // the build fails, and says so
		}
	}}
	if err := b.Watch(&builderpb.WatchRequest{Id: id("alpha", 1)}, s); err != nil {
		t.Fatal(err)
	}
	var attempts int
	err := b.pool.QueryRow(t.Context(), "SELECT attempt FROM builder.builds").Scan(&attempts)
	said := b.said(t, id("alpha", 1))
	if last := s.got[len(s.got)-1]; last.GetPhase() != builderpb.State_SUCCEEDED || attempts < 2 || err != nil || !strings.Contains(said, "storage full") {
		t.Errorf("%d attempts, %v, states %v, log:\n%s", attempts, err, s.got, said)
	}
}

// TestNoRoom: a build waits for room on the disk, for as long as for Docker, and
// then says what is missing.
func TestNoRoom(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *Options) { o.Disk, o.DockerWait = 1<<60, 2*time.Second })
	if err := b.workers.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.upload(t, "up", hello)
	if _, err := b.Build(component(t), &builderpb.BuildRequest{Id: id("alpha", 1), Upload: "up"}); err != nil {
		t.Fatal(err)
	}
	const want = "of disk left, and a build needs 1099511627776"
	ctx, cancel := context.WithTimeout(component(t), time.Minute)
	defer cancel()
	s := &recorder[builderpb.State]{ctx: ctx}
	if err := b.Watch(&builderpb.WatchRequest{Id: id("alpha", 1)}, s); err != nil {
		t.Fatal(err)
	}
	waited := false
	for _, x := range s.got {
		waited = waited || x.GetPhase() == builderpb.State_QUEUED && strings.Contains(x.GetStep(), want)
	}
	if last := s.got[len(s.got)-1]; !waited || last.GetPhase() != builderpb.State_FAILED || !strings.Contains(last.GetReason(), want) {
		t.Errorf("states %v", s.got)
	}
}
