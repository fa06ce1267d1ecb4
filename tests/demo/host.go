package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
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
	before    map[string][]string // kind of Docker object → those that were there
}

// kinds of Docker objects that a platform makes, in the order in which they can
// be removed, with the commands that list and remove them.
var kinds = []struct {
	name         string
	list, remove []string
}{
	{"service", []string{"service", "ls", "-q"}, []string{"service", "rm"}},
	{"container", []string{"container", "ls", "-aq"}, []string{"container", "rm", "-f"}},
	{"network", []string{"network", "ls", "-q"}, []string{"network", "rm"}},
	{"volume", []string{"volume", "ls", "-q"}, []string{"volume", "rm", "-f"}},
	{"image", []string{"image", "ls", "-q", "--no-trunc"}, []string{"image", "rm", "-f"}},
}

// openHost installs and starts what is missing, and notes what was there.
func openHost(ctx context.Context) (*host, error) {
	h := &host{before: map[string][]string{}}
	_, err := docker(ctx, "info")
	h.dockerRan = err == nil
	fmt.Println("== what this machine lacks")
	prepare := exec.CommandContext(ctx, "deploy/prepare.sh")
	prepare.Stdout, prepare.Stderr = os.Stdout, os.Stderr
	if err := prepare.Run(); err != nil {
		return nil, fmt.Errorf("deploy/prepare.sh: %w", err)
	}
	state, err := docker(ctx, "info", "--format", "{{.Swarm.LocalNodeState}}")
	if err != nil {
		return nil, err
	}
	h.swarmRan = strings.TrimSpace(state) == "active"
	for _, k := range kinds {
		if h.before[k.name], err = ours(ctx, k.list); err != nil && (h.swarmRan || k.name != "service") {
			return nil, err
		}
	}
	return h, nil
}

// ours lists the objects that platforms made on this Docker.
func ours(ctx context.Context, list []string) ([]string, error) {
	out, err := docker(ctx, append(slices.Clone(list), "--filter", "label="+platform.Label)...)
	return strings.Fields(out), err
}

// close removes what the demo made, and stops the Docker that it started.
func (h *host) close(ctx context.Context) error {
	var errs []error
	for _, k := range kinds {
		errs = append(errs, h.remove(ctx, k.name, k.list, k.remove))
	}
	if !h.swarmRan {
		_, err := docker(ctx, "swarm", "leave", "--force")
		errs = append(errs, err)
	}
	if !h.dockerRan {
		errs = append(errs, stopDocker(ctx))
	}
	return errors.Join(errs...)
}

// remove tries until they are gone: a network is busy while its last container
// is still leaving.
func (h *host) remove(ctx context.Context, kind string, list, remove []string) error {
	for {
		now, err := ours(ctx, list)
		if err != nil {
			return err
		}
		made := slices.DeleteFunc(now, func(id string) bool { return slices.Contains(h.before[kind], id) })
		if len(made) == 0 {
			return nil
		}
		_, err = docker(ctx, append(slices.Clone(remove), made...)...)
		select {
		case <-ctx.Done():
			return fmt.Errorf("remove %s %v: %w", kind, made, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func docker(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", args...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(said.String()))
	}
	return string(out), nil
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
