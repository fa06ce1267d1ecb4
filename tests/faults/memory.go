package faults

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// memory is what processes may have, each in a cgroup of its own.
type memory struct {
	files  cgroupFiles
	limit  int
	groups map[string]string // by the name of a process
}

// cgroupFiles are those of one version of cgroups.
type cgroupFiles struct {
	root, limit, kills, peak string
}

var (
	cgroup1 = cgroupFiles{"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.oom_control", "memory.max_usage_in_bytes"}
	cgroup2 = cgroupFiles{"/sys/fs/cgroup", "memory.max", "memory.events", "memory.peak"}
)

// newMemory makes a cgroup for each of some processes.
func newMemory(t *testing.T, limit int, names ...string) *memory {
	t.Helper()
	m := &memory{files: cgroup1, limit: limit, groups: map[string]string{}}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		m.files = cgroup2
	}
	for _, name := range names {
		dir := filepath.Join(m.files.root, fmt.Sprintf("micro-faults-%d-%d-%s", os.Getpid(), time.Now().UnixNano(), name))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.remove(t, dir) })
		if err := os.WriteFile(filepath.Join(dir, m.files.limit), []byte(strconv.Itoa(limit)), 0o644); err != nil {
			t.Fatal(err)
		}
		m.groups[name] = dir
	}
	return m
}

// prepare starts a process in its cgroup, and tells it how much there is.
func (m *memory) prepare(cmd *exec.Cmd) {
	group := m.groups[cmd.Args[len(cmd.Args)-1]]
	if group == "" {
		return
	}
	cmd.Args = append([]string{"sh", "-c", `echo $$ > "$0" && exec "$@"`, filepath.Join(group, "cgroup.procs"), cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	cmd.Env = append(slices.Clip(cmd.Env), fmt.Sprintf("GOMEMLIMIT=%d", m.limit*3/4))
}

// kills is how many processes the kernel has killed.
func (m *memory) kills() (n int, err error) {
	for _, dir := range m.groups {
		b, readErr := os.ReadFile(filepath.Join(dir, m.files.kills))
		err = errors.Join(err, readErr)
		for lines := bufio.NewScanner(strings.NewReader(string(b))); lines.Scan(); {
			if name, value, _ := strings.Cut(lines.Text(), " "); name == "oom_kill" {
				killed, numErr := strconv.Atoi(value)
				n, err = n+killed, errors.Join(err, numErr)
			}
		}
	}
	return n, err
}

// peaks says how much each has had at most, in MiB.
func (m *memory) peaks() string {
	var all []string
	for name, dir := range m.groups {
		b, _ := os.ReadFile(filepath.Join(dir, m.files.peak)) // some kernels do not tell
		n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
		all = append(all, fmt.Sprintf("%s %d MiB", name, n>>20))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// remove removes a cgroup as soon as nobody is in it.
func (m *memory) remove(t *testing.T, dir string) {
	t.Helper()
	var err error
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); <-time.After(tryAgain) {
		if err = os.Remove(dir); err == nil || errors.Is(err, fs.ErrNotExist) {
			return
		}
	}
	t.Error(err)
}
