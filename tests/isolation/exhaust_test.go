package isolation

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What a container may have, as the scheduler's settings are by default.
const (
	pids  = 256
	files = 4096
	disk  = 64 << 20 // of each directory that can be written to
	logs  = 2 * 5 << 20
)

// exhaust takes all there is of each thing that there is an end of.
func (b *bench) exhaust(t *testing.T) {
	t.Run("processes", func(t *testing.T) {
		rsp := b.mallory.try(t, "hostile", "Fork", request{Count: 10_000})
		if rsp.Count >= pids || rsp.Results["end"] == "none" {
			t.Errorf("%d processes, %v", rsp.Count, rsp.Results)
		}
		t.Logf("%d processes, then %s", rsp.Count, rsp.Results["end"])
	})
	t.Run("files", func(t *testing.T) {
		rsp := b.mallory.try(t, "hostile", "Open", request{Count: 100_000})
		if rsp.Count >= files || !strings.Contains(rsp.Results["end"], "too many open files") {
			t.Errorf("%d files, %v", rsp.Count, rsp.Results)
		}
	})
	t.Run("disk", func(t *testing.T) {
		rsp := b.mallory.try(t, "hostile", "Fill", request{Targets: []string{"/tmp", "/home/micro", "/dev/shm", "/", "/etc", "/dev", "/proc", "/sys"}, Count: 1 << 30})
		if rsp.Count > 3*disk {
			t.Errorf("%d MiB were written", rsp.Count>>20)
		}
		for dir, end := range rsp.Results {
			if end == "all written" {
				t.Errorf("%s has no end", dir)
			}
		}
		t.Logf("%d MiB: %v", rsp.Count>>20, rsp.Results)
	})
	t.Run("log", b.flood)
	t.Run("processors", func(t *testing.T) { b.mallory.try(t, "peer", "Spin", request{Count: 3000}) })
	t.Run("memory", b.eat)
}

// flood shows that a log does not grow beyond its files, and that it can be
// read while somebody floods it.
func (b *bench) flood(t *testing.T) {
	const followed = 5 * time.Second
	path := b.inspect(t, "mallory-space", "hostile", "{{.LogPath}}")
	done := make(chan response, 1)
	go func() {
		rsp, _ := b.mallory.call(t.Context(), "hostile", "Shout", request{Count: 3000}) // judged by what it wrote
		done <- rsp
	}()
	began := time.Now()
	out, err := b.mallory.Micro(t.Context(), "", "logs", "-n", "10", "hostile")
	if took := time.Since(began); err != nil || took > followed {
		t.Errorf("the log took %v: %v, %d bytes", took, err, len(out))
	}
	wrote := (<-done).Count
	size := int64(0)
	kept, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range kept {
		if info, err := os.Stat(name); err == nil {
			size += info.Size()
		}
	}
	t.Logf("%d MiB in 3 s, of which %d MiB are kept", wrote>>20, size>>20)
	if size > logs+1<<20 || wrote == 0 {
		t.Errorf("%d bytes of log are kept of %d in %v", size, wrote, kept)
	}
}

// again is how long a service may take to come back.
const again = 30 * time.Second

// eat shows that a service which takes more memory than it may have ends, and
// that it comes back.
func (b *bench) eat(t *testing.T) {
	if limit := b.inspect(t, "mallory-space", "hostile", "{{.HostConfig.Memory}}"); limit != "268435456" {
		t.Errorf("the memory limit is %s", limit)
	}
	was := b.inspect(t, "mallory-space", "hostile", "{{.Id}}")
	rsp, err := b.mallory.call(t.Context(), "hostile", "Eat", request{Count: 4 << 30})
	if err == nil {
		t.Errorf("it ate %d MiB", rsp.Count>>20)
	}
	for deadline := time.Now().Add(again); ; {
		if _, err := b.mallory.call(t.Context(), "hostile", "Ping", request{}); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it does not come back")
		}
	}
	if b.inspect(t, "mallory-space", "hostile", "{{.Id}}") == was {
		t.Error("the container is the same")
	}
	for deadline := time.Now().Add(again); ; { // E9: its owner hears of it
		out, err := b.mallory.Micro(t.Context(), "", "status", "hostile")
		if err == nil && strings.Contains(out, "killed: out of memory (limit 256 MiB)") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("micro status: %v: %s", err, out)
		}
	}
}
