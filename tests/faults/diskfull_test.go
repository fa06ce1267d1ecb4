package faults

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/disktest"
	"github.com/micro/platform/tests/platform"
)

const (
	// fullFor is how long a disk stays full.
	fullFor = 4 * time.Second
	// roomWithin is how soon everything works again when there is room.
	roomWithin = 10 * time.Second
)

// inside is what callers must not see of a full disk.
var inside = regexp.MustCompile(`(?i)redis|misconf|sqlstate|postgres|no space|enospc|/`)

// TestDiskFull is experiment E7. It takes more than a minute.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	inFull(t)
	asRoot(t, "mount small disks")
	fillDisks(t).judge(t)
}

// fillDisks fills the disk of the bucket, of Postgres, of its WAL alone and of Redis,
// one after the other: callers hear of it, but of the last two, whose databases end
// and cannot say why; nothing that was acknowledged is lost, and all goes on by
// itself when there is room.
func fillDisks(t *testing.T) Figures {
	t.Helper()
	dir := shared(t)
	disks := map[string]disktest.Disk{}
	for _, name := range []string{"bucket", "postgres", "redis"} {
		at := filepath.Join(dir, name)
		if err := os.Mkdir(at, 0o700); err != nil {
			t.Fatal(err)
		}
		disks[name] = disktest.New(t, at)
	}
	d, err := newDatabases(dir)
	if err != nil {
		t.Fatal(err)
	}
	wal := walApart(t, filepath.Join(dir, "postgres", "pg_wal"))
	c := &chaos{T: t, servers: d, site: siteOn(t, platform.Config{Dir: dir}, d)}
	c.prepare()
	nothing := func(context.Context) {}
	c.fullDisk("bucket", disks["bucket"], true, nothing)
	c.fullDisk("Postgres", disks["postgres"], true, nothing)
	c.fullDisk("Postgres' WAL", wal, false, c.endWAL)
	c.fullDisk("Redis", disks["redis"], false, nothing)
	return c.figures
}

// walApart gives Postgres' WAL a disk of its own.
func walApart(t *testing.T, dir string) disktest.Disk {
	t.Helper()
	aside := dir + ".aside"
	if err := errors.Join(os.Rename(dir, aside), os.Mkdir(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	disk := disktest.New(t, dir)
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", aside+"/.", dir).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
	return disk
}

// endWAL has Postgres begin files of its WAL until there is no room for one, and it
// ends.
func (c *chaos) endWAL(ctx context.Context) {
	for range 64 {
		conn, err := pgx.Connect(ctx, c.servers.postgres.URL)
		if err != nil {
			c.Logf("the WAL has ended: %v", err)
			return
		}
		conn.Exec(ctx, "SELECT pg_logical_emit_message(false, '', ''), pg_switch_wal()") //nolint:errcheck // then it has ended, and is not there
		conn.Close(ctx)                                                                  //nolint:errcheck // likewise
	}
	c.Error("the WAL found room on a full disk")
}

// fullDisk fills a disk for a while, in which more is done. Callers must hear of it
// if what is on it can say so.
func (c *chaos) fullDisk(of string, disk disktest.Disk, says bool, more func(context.Context)) {
	name := "E7 full disk of " + of
	var freed time.Time
	x := c.under(name, func(ctx context.Context) map[string]int {
		keeping, stop := context.WithCancel(ctx)
		defer stop()
		ends := make([]int, 2)
		var all sync.WaitGroup
		for i, d := range []*platform.Daemon{c.servers.redis, c.servers.postgres} {
			all.Go(func() {
				var err error
				if ends[i], err = d.Keep(keeping); err != nil {
					c.Error(err)
				}
			})
		}
		if err := disk.Fill(); err != nil {
			c.Error(err)
		}
		more(ctx)
		platform.Until(ctx, time.Now().Add(fullFor))
		freed = time.Now()
		if err := disk.Free(); err != nil {
			c.Error(err)
		}
		platform.Until(ctx, freed.Add(roomWithin))
		stop()
		all.Wait()
		c.Logf("Redis ended %d times, Postgres %d times", ends[0], ends[1])
		return map[string]int{"redis-server": ends[0], "postgres": ends[1]}
	})
	said, showing := x.heard()
	if says {
		c.figures.least(name, "calls that heard that storage is full", said, 1)
	}
	c.figures.count(name, "calls that heard what is no business of theirs", showing, 0)
	c.figures.most(name, "every kind of calls is answered again, when there is room", x.again(freed), roomWithin)
}

// heard counts the calls that were told what they should, and those that were
// told what is inside.
func (x *Traffic) heard() (said, showing int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, c := range x.counts {
		for text, n := range c.errors {
			if strings.Contains(text, "storage full") {
				said += n
			}
			if inside.MatchString(errors.Parse(text).Detail) {
				showing += n
			}
		}
	}
	return said, showing
}
