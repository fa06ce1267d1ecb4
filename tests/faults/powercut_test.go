package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/micro/platform/tests/platform"
)

// minCut and maxCut bound how long messages are sent before the power goes.
const minCut, maxCut = 2 * time.Second, 4 * time.Second

// lossTime is how long messages are looked for that are expected to be lost.
const lossTime = 3 * time.Second

// cutTries is how often a server that is not durable may be lucky.
const cutTries = 5

// TestPowerCut takes the disk as it is at one moment from under a server, and
// starts the server on that: nothing acknowledged is lost. The same with
// databases that do not wait for the disk loses something, or else the method
// would prove nothing.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	if err := mountable(t.Context()); err != nil {
		t.Skipf("the power cut is not tested here: %v", err)
	}
	dir := shared(t)
	fresh := prepareDisk(t, dir)
	for _, tt := range []struct {
		name, redis, postgres string // arguments that make a database forget
		loses                 []string
	}{
		{name: "as the platform sets them"},
		{"written each second", "--appendfsync everysec", "-c synchronous_commit=off", []string{"store records", "events kept", "config settings"}},
		{"written when the kernel likes", "--appendfsync no", "-c fsync=off", []string{"store records", "events kept", "config settings"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n, random := seed(t)
			kept := slices.Clone(tt.loses) // so far
			for range cutTries {
				r := Report{Title: t.Name(), Seed: n, Kills: map[string]int{"the power": 1}}
				s, loads, err := cutPower(t, fresh, random, forgetful(t, tt.redis, tt.postgres), &r)
				if err != nil && tt.loses != nil {
					t.Logf("what is left on the disk is of no use: %v", err)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if tt.loses == nil {
					if r.Rows, err = settle(t.Context(), loads, settleTime); err != nil {
						t.Error(err)
					}
					judge(t, r)
					return
				}
				r.Rows, err = settle(t.Context(), loads, lossTime)
				t.Log(r, err)
				s.stop(t, func() { s.Platform.Stop() })
				for _, row := range r.Rows {
					kept = slices.DeleteFunc(kept, func(name string) bool { return name == row.Name && row.Lost > 0 })
				}
				if len(kept) == 0 {
					return
				}
			}
			t.Errorf("nothing of %v was lost: the cut does not show what is not on the disk", kept)
		})
	}
}

// prepareDisk makes a disk with the data of a server that was never used.
func prepareDisk(t *testing.T, dir string) Image {
	t.Helper()
	disk, err := NewImage(t.Context(), filepath.Join(dir, "fresh"))
	if err != nil {
		t.Fatal(err)
	}
	on := diskServer(t, disk)
	on.stop(t, func() { on.Platform.Stop() })
	return disk
}

// served is a site whose data is on a disk.
type served struct {
	*Site
	disk Image
}

// diskServer starts a server on a disk.
func diskServer(t *testing.T, disk Image, env ...string) *served {
	t.Helper()
	mount := t.TempDir()
	s, err := together(t.Context(), platform.Config{Micro: micro, Dir: mount, Prepare: disk.Mount(mount), Env: env})
	if err != nil {
		t.Fatal(err)
	}
	on := &served{s, disk}
	t.Cleanup(func() { s.Close(); on.stop(t, func() { s.Platform.Stop() }) })
	return on
}

// stop ends a server and waits until its disk is nobody's.
func (s *served) stop(t *testing.T, end func()) {
	t.Helper()
	end()
	if err := s.disk.Released(context.Background()); err != nil {
		t.Error(err)
	}
}

// cutPower sends messages, takes a copy of the disk, and starts the server on
// the copy. Its error is that of the start.
func cutPower(t *testing.T, fresh Image, random *rand.Rand, env []string, r *Report) (*served, []*Load, error) {
	t.Helper()
	dir := t.TempDir()
	disk, err := fresh.Copy(t.Context(), filepath.Join(dir, "disk"))
	if err != nil {
		t.Fatal(err)
	}
	s := diskServer(t, disk, env...)
	ctx := t.Context()
	loads, err := s.Loads(ctx, "cut")
	if err != nil {
		t.Fatal(err)
	}
	sending, stop := context.WithCancel(ctx)
	defer stop()
	var all sync.WaitGroup
	for _, l := range loads {
		all.Go(func() { l.Run(sending) })
	}
	r.For = minCut + time.Duration(random.Int64N(int64(maxCut-minCut)))
	platform.Until(ctx, time.Now().Add(r.For))
	server, err := platform.Tree(s.Platform.Processes()["server"])
	if err != nil {
		t.Fatal(err)
	}
	server.Signal(syscall.SIGSTOP)
	cut, err := disk.Copy(ctx, filepath.Join(dir, "cut"))
	stop()
	s.stop(t, func() { server.Kill(); s.Platform.Await("server") })
	if err != nil {
		t.Fatal(err)
	}
	all.Wait()
	s.disk = cut
	s.Platform.Prepare = cut.Mount(s.Platform.Dir)
	return s, loads, s.Platform.Restart(ctx)
}

// forgetful answers the settings of a server whose databases get more
// arguments.
func forgetful(t *testing.T, redis, postgres string) []string {
	t.Helper()
	if redis == "" {
		return nil
	}
	dir := shared(t)
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		t.Fatal("PostgreSQL's programs were not found in /usr/lib/postgresql/*/bin")
	}
	program := found[len(found)-1]
	wrap(t, filepath.Join(dir, "redis-server"), lookPath(t, "redis-server"), redis)
	wrap(t, filepath.Join(dir, "postgres"), program, postgres)
	wrap(t, filepath.Join(dir, "initdb"), filepath.Join(filepath.Dir(program), "initdb"), "")
	return []string{"MICRO_SERVER_REDIS_SERVER=" + filepath.Join(dir, "redis-server"), "MICRO_SERVER_POSTGRES_BIN=" + dir}
}

func wrap(t *testing.T, path, program, arguments string) {
	t.Helper()
	script := fmt.Sprintf("#!/bin/sh\nexec %s \"$@\" %s\n", program, arguments)
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
}
