package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/micro/platform/tests/platform"
)

// host is what the demo found on the machine, to leave it so.
type host struct {
	dockerRan bool
	swarmRan  bool
}

// openHost installs and starts what is missing, and notes what was there.
func openHost(ctx context.Context) (*host, error) {
	h := &host{}
	_, err := platform.Docker(ctx, "info")
	h.dockerRan = err == nil
	fmt.Println("== what this machine lacks")
	prepare := exec.CommandContext(ctx, "deploy/prepare.sh")
	prepare.Stdout, prepare.Stderr = os.Stdout, os.Stderr
	if err := prepare.Run(); err != nil {
		return nil, fmt.Errorf("deploy/prepare.sh: %w", err)
	}
	state, err := platform.Docker(ctx, "info", "--format", "{{.Swarm.LocalNodeState}}")
	if err != nil {
		return nil, err
	}
	h.swarmRan = strings.TrimSpace(state) == "active"
	return h, nil
}

// close leaves Docker as it was found.
func (h *host) close(ctx context.Context) error {
	var errs []error
	if !h.swarmRan {
		_, err := platform.Docker(ctx, "swarm", "leave", "--force")
		errs = append(errs, err)
	}
	if !h.dockerRan {
		errs = append(errs, stopDocker(ctx))
	}
	return errors.Join(errs...)
}

// stopDocker ends the daemon that prepare.sh started.
func stopDocker(ctx context.Context) error {
	b, err := os.ReadFile("/var/run/docker.pid")
	if err != nil {
		return fmt.Errorf("stop Docker: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return fmt.Errorf("stop Docker: %w", err)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop Docker: %w", err)
	}
	for syscall.Kill(pid, 0) == nil {
		select {
		case <-ctx.Done():
			return errors.New("stop Docker: it is still there")
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}
