package builder

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/client"

	"github.com/micro/platform/builder/image"
	builderpb "github.com/micro/platform/proto/builder"
)

// TestBuildInGVisor builds where gVisor is required (T2), in a Docker of its own
// that has it: the machine's need not.
func TestBuildInGVisor(t *testing.T) {
	runsc, err := exec.LookPath("runsc")
	if err != nil {
		t.Skip("runsc is not in PATH")
	}
	if os.Geteuid() != 0 {
		t.Skip("only root may start a Docker")
	}
	startDocker(t, runsc)
	b := setup(t, func(o *Options) { o.GVisor = image.GVisorRequire })
	if s, err := b.images.Sandbox(t.Context()); err != nil || !s.GVisor || s.Problem != "" {
		t.Errorf("%+v, %v", s, err)
	}
	if err := b.workers.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.upload(t, "up", hello)
	req := &builderpb.BuildRequest{Id: id("alpha", 1), Source: "source://hello:latest", Upload: "up"}
	if _, err := b.Build(component(t), req); err != nil {
		t.Fatal(err)
	}
	if s := b.await(t, req.GetId()); s.GetPhase() != builderpb.State_SUCCEEDED {
		t.Errorf("%v, log:\n%s", s, b.said(t, req.GetId()))
	}
}

// startDocker starts a Docker that knows gVisor, and makes it the one that the
// environment names.
func startDocker(t *testing.T, runsc string) {
	t.Helper()
	dir := t.TempDir()
	socket := "unix://" + filepath.Join(dir, "docker.sock")
	config, err := json.Marshal(map[string]any{
		"runtimes": map[string]any{"runsc": map[string]any{"path": runsc, "runtimeArgs": []string{"--platform=systrap", "--host-uds=open"}}},
		"bridge":   "none", "iptables": false, "hosts": []string{socket}, "cgroup-parent": "/micro-gvisor",
		"data-root": filepath.Join(dir, "data"), "exec-root": filepath.Join(dir, "exec"), "pidfile": filepath.Join(dir, "pid"),
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "daemon.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("dockerd", "--config-file", file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
		cmd.Wait()                          //nolint:errcheck // by the signal
		// It leaves the network namespace of containers that have none mounted.
		syscall.Unmount(filepath.Join(dir, "exec", "runtime-runc", "moby", "null-netns"), 0) //nolint:errcheck // not every version
	})
	t.Setenv("DOCKER_HOST", socket)
	docker, err := client.NewClientWithOpts(client.FromEnv)
	if err != nil {
		t.Fatal(err)
	}
	defer docker.Close()
	for deadline := time.Now().Add(time.Minute); ; {
		if _, err := docker.Ping(t.Context()); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("Docker did not start")
		}
		select {
		case <-t.Context().Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}
