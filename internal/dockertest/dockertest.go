package dockertest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/client"
)

// apart are what a Docker has of its own: it takes away the bridges of others,
// and leaves mounts behind.
const apart = syscall.CLONE_NEWNET | syscall.CLONE_NEWNS

// GVisor starts a Docker that knows gVisor, and makes it the one that the
// environment names. Its containers have no network.
func GVisor(t *testing.T) {
	t.Helper()
	start(t, map[string]any{"bridge": "none", "iptables": false}, &syscall.SysProcAttr{Unshareflags: apart, Pdeathsig: syscall.SIGTERM})
}

// inside names the test that runs in a network of its own.
const inside = "MICRO_TEST_INSIDE"

// Apart runs the calling test a second time, in a process with a network of
// its own, and answers whether this is the one in there: the other has nothing
// more to do. There, a Docker whose every container is in gVisor is the one
// that the environment names.
func Apart(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inside) == t.Name() {
		up(t)
		start(t, map[string]any{"default-runtime": "runsc"}, &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM})
		return true
	}
	root(t)
	args := []string{"-test.run=^" + t.Name() + "$", "-test.v"}
	if deadline, ok := t.Deadline(); ok {
		args = append(args, "-test.timeout="+time.Until(deadline).String())
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), inside+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: apart, Pdeathsig: syscall.SIGTERM}
	out, err := cmd.CombinedOutput()
	t.Logf("inside:\n%s", out)
	if err != nil {
		t.Error(err)
	}
	return false
}

func root(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may start a Docker")
	}
}

// Runsc is gVisor's program: in PATH, or where `make runsc` puts it.
func Runsc(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("runsc"); err == nil {
		return path
	}
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(filepath.Dir(strings.TrimSpace(string(out))), "bin", "runsc")
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("make runsc makes it: %v", err)
	}
	return path
}

// start starts a Docker with gVisor and settings.
func start(t *testing.T, settings map[string]any, attr *syscall.SysProcAttr) {
	t.Helper()
	root(t)
	dir := t.TempDir()
	socket := "unix://" + filepath.Join(dir, "docker.sock")
	config := map[string]any{
		"runtimes": map[string]any{"runsc": map[string]any{"path": Runsc(t), "runtimeArgs": []string{"--host-uds=open"}}},
		"hosts":    []string{socket}, "cgroup-parent": "/micro-gvisor",
		"data-root": filepath.Join(dir, "data"), "exec-root": filepath.Join(dir, "exec"), "pidfile": filepath.Join(dir, "pid"),
	}
	for name, value := range settings {
		config[name] = value
	}
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "daemon.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command("dockerd", "--config-file", file)
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, attr
	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		// It is told to end when this thread does, which must not be before the test.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait() //nolint:errcheck // how it ended is in its log
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := os.ReadFile(log.Name()) //nolint:errcheck // then it is empty
			t.Logf("the end of Docker's log:\n%s", text[max(0, len(text)-logTail):])
		}
		cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
		<-ended
		// It leaves the network namespace of containers that have none mounted.
		syscall.Unmount(filepath.Join(dir, "exec", "runtime-runc", "moby", "null-netns"), 0) //nolint:errcheck // not every version
	})
	t.Setenv("DOCKER_HOST", socket)
	await(t, ended, log.Name())
}

// logTail is how much of Docker's log a test that failed shows.
const logTail = 8 << 10

// startTime is longer than a Docker needs that has nothing yet.
const startTime = time.Minute

func await(t *testing.T, ended <-chan struct{}, log string) {
	t.Helper()
	docker, err := client.NewClientWithOpts(client.FromEnv)
	if err != nil {
		t.Fatal(err)
	}
	defer docker.Close()
	late := time.After(startTime)
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		if _, err := docker.Ping(t.Context()); err == nil {
			tick.Stop()
			return
		}
		select {
		case <-tick.C:
			continue
		case <-ended:
		case <-late:
		}
		text, _ := os.ReadFile(log) //nolint:errcheck // then it is empty
		t.Fatalf("Docker did not start:\n%s", text)
	}
}

// up turns loopback on, and sends there what is for nobody inside: where there
// is no way at all, the kernel refuses before the firewall does.
func up(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{{"link", "set", "lo", "up"}, {"route", "add", "default", "dev", "lo"}} {
		if out, err := exec.CommandContext(t.Context(), "ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
	}
}
