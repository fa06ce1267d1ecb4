package multihost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/micro/platform/tests/platform"
)

// Node is a host: namespaces of its own for network, mounts, process numbers and
// name. Whatever runs on it ends with its first process.
type Node struct {
	Name, Address string
	// Dir holds what the host keeps.
	Dir string
	// GVisor is what it runs containers in that ask for nothing.
	GVisor bool

	rig     *Rig
	power   *exec.Cmd // ends the host when it ends
	init    int       // process number of the host's first process
	docker  *exec.Cmd
	waiting *waiting // what is late, while it is
}

func newNode(r *Rig, i int) *Node {
	name := "node" + strconv.Itoa(i)
	return &Node{Name: name, Address: fmt.Sprintf("192.168.%d.%d", 100+r.number, i), Dir: filepath.Join(r.Dir, name), rig: r}
}

func (n *Node) namespace() string { return n.rig.name(n.Name) }

// bootScript is what a host does before its first process, which only waits for
// others to end. Each host has a /run, and with it the socket of its own Docker
// at the usual place, and asks for names where nobody answers.
const bootScript = `set -e
hostname "$1"
mount -t tmpfs -o mode=755 tmpfs /run
names=$(readlink -f /etc/resolv.conf); mkdir -p "${names%/*}"; [ -e "$names" ] || : >"$names"
mount --bind "$2" /etc/resolv.conf
exec docker-init -s -- sleep infinity`

// bootTimeout bounds the start of a host and of its Docker.
const bootTimeout = time.Minute

// boot switches the host on. It goes off with this process, however that ends.
func (n *Node) boot(ctx context.Context) error {
	names := filepath.Join(n.Dir, "resolv.conf")
	err := errors.Join(os.MkdirAll(n.Dir, 0o755), os.WriteFile(names, []byte("nameserver "+n.Address+"\n"), 0o644))
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(n.Dir, "boot.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	// Not ip netns exec: it mounts a new /sys, without the cgroups that Docker needs.
	n.power = exec.Command("nsenter", "--net=/run/netns/"+n.namespace(),
		"unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private",
		"sh", "-c", bootScript, "sh", n.Name, names)
	n.power.Stdout, n.power.Stderr = log, log
	n.power.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if err := n.power.Start(); err != nil {
		return err
	}
	if err := os.WriteFile(n.pidFile(), []byte(strconv.Itoa(n.power.Process.Pid)), 0o644); err != nil {
		return err
	}
	return poll(ctx, bootTimeout, func() error {
		tree, err := platform.Tree(n.power.Process.Pid)
		if err != nil {
			return err
		}
		first := tree.Of("docker-init")
		if len(first) == 0 {
			return fmt.Errorf("%s does not boot", n.Name)
		}
		n.init = first[0].PID
		return nil
	})
}

func (n *Node) pidFile() string { return filepath.Join(n.Dir, "power.pid") }

// off takes the power from the host, whoever has switched it on.
func (n *Node) off() error {
	b, err := os.ReadFile(n.pidFile())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	pid, _ := strconv.Atoi(string(b))
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !strings.Contains(string(line), n.Dir) {
		return nil // it has ended, and the number may be another's
	}
	tree, err := platform.Tree(pid)
	if err != nil {
		return err
	}
	syscall.Kill(pid, syscall.SIGKILL) //nolint:errcheck // it may have ended
	if n.power != nil {
		n.power.Wait() //nolint:errcheck // by the kill
	}
	tree.Kill()
	return nil
}

// Command prepares a program that runs on the host.
func (n *Node) Command(ctx context.Context, args ...string) *exec.Cmd {
	args = append([]string{"--target", strconv.Itoa(n.init), "--mount", "--uts", "--net", "--pid", "--"}, args...)
	return exec.CommandContext(ctx, "nsenter", args...)
}

// socket is of the host's Docker, seen from outside.
func (n *Node) socket() string { return fmt.Sprintf("unix:///proc/%d/root/run/docker.sock", n.init) }

// StartDocker starts the host's Docker and waits until it answers.
func (n *Node) StartDocker(ctx context.Context) error {
	settings := map[string]any{
		"data-root": filepath.Join(n.Dir, "docker"), "exec-root": "/run/docker", "pidfile": "/run/docker.pid", "hosts": []string{"unix:///run/docker.sock"},
		"storage-driver": "overlay2", "cgroup-parent": "/" + n.namespace(), "dns": []string{n.Address}, "no-new-privileges": true,
	}
	if n.GVisor {
		settings["default-runtime"] = "runsc"
		settings["runtimes"] = map[string]any{"runsc": map[string]any{"path": n.rig.runsc}}
	}
	config, err := json.Marshal(settings)
	file := filepath.Join(n.Dir, "daemon.json")
	if err := errors.Join(err, os.WriteFile(file, config, 0o644)); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(n.Dir, "dockerd.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	n.docker = n.Command(context.Background(), "dockerd", "--config-file", file)
	n.docker.Stdout, n.docker.Stderr = log, log
	if err := n.docker.Start(); err != nil {
		return err
	}
	return poll(ctx, bootTimeout, func() error {
		_, err := n.Docker(ctx, "version")
		return err
	})
}

// KillDocker ends the host's Docker without warning; containers run on.
func (n *Node) KillDocker() error { return end(n.docker, "dockerd", syscall.SIGKILL) }

// StopDocker ends the host's Docker as an operator does.
func (n *Node) StopDocker() error { return end(n.docker, "dockerd", syscall.SIGTERM) }

// end signals the program that Command has started, not nsenter, which is its
// parent, and waits.
func end(cmd *exec.Cmd, program string, sig syscall.Signal) error {
	tree, err := platform.Tree(cmd.Process.Pid)
	if err != nil {
		return err
	}
	found := tree.Of(program)
	if len(found) == 0 {
		return fmt.Errorf("%s does not run", program)
	}
	found[:1].Signal(sig)
	cmd.Wait() //nolint:errcheck // by the signal
	return nil
}

// dockerTimeout is enough for an image of a gigabyte.
const dockerTimeout = 3 * time.Minute

// Docker runs a command of Docker's command line on the host's Docker.
func (n *Node) Docker(ctx context.Context, args ...string) (string, error) {
	return n.DockerIn(ctx, nil, args...)
}

// DockerIn is Docker with something to read.
func (n *Node) DockerIn(ctx context.Context, in io.Reader, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, dockerTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", slices.Concat([]string{"-H", n.socket()}, args)...)
	var said strings.Builder
	cmd.Stdin, cmd.Stderr = in, &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("docker %s on %s: %w: %s", strings.Join(args, " "), n.Name, err, strings.TrimSpace(said.String()))
	}
	return string(out), nil
}

// poll tries until it works, or answers the last error.
func poll(ctx context.Context, patience time.Duration, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %v: %w", patience, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
