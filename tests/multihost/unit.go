package multihost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/micro/platform/tests/platform"
)

// restartAfter is RestartSec of deploy/systemd/micro@.service.
const restartAfter = time.Second

// Unit is a component on a host, started again whenever it ends, as systemd does
// it by deploy/systemd/micro@.service.
type Unit struct {
	Component string
	Node      *Node

	micro   string
	env     []string
	log     *os.File
	stopped chan struct{}

	mu    sync.Mutex
	pid   int           // of nsenter, whose child the component is
	ready chan struct{} // closed when the component serves
}

// startUnit starts a component and comes back when it serves.
func startUnit(ctx context.Context, n *Node, micro, component string, env []string) (*Unit, error) {
	log, err := os.Create(filepath.Join(n.Dir, component+".log"))
	if err != nil {
		return nil, err
	}
	u := &Unit{Component: component, Node: n, micro: micro, env: env, log: log,
		stopped: make(chan struct{}), ready: make(chan struct{})}
	go u.keep()
	return u, u.Ready(ctx)
}

// keep runs the component until leave.
func (u *Unit) keep() {
	defer u.log.Close()
	for {
		if err := u.once(); err != nil {
			fmt.Fprintln(u.log, err)
		}
		select {
		case <-u.stopped:
			return
		case <-time.After(restartAfter):
		}
	}
}

func (u *Unit) once() error {
	cmd := u.Node.Command(context.Background(), u.micro, "service", u.Component)
	cmd.Env, cmd.Stderr = u.env, u.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	u.mu.Lock()
	u.pid = cmd.Process.Pid
	ready := u.ready
	u.mu.Unlock()
	first := make([]byte, 256)
	if n, err := out.Read(first); err == nil && strings.Contains(string(first[:n]), " is ready") {
		close(ready)
	}
	io.Copy(u.log, out) //nolint:errcheck // it ends with the component
	err = cmd.Wait()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.pid = 0
	select {
	case <-u.ready:
		u.ready = make(chan struct{})
	default: // it never was
	}
	return err
}

// readyTimeout bounds the start of a component.
const readyTimeout = time.Minute

// Ready waits until the component serves.
func (u *Unit) Ready(ctx context.Context) error {
	u.mu.Lock()
	ready := u.ready
	u.mu.Unlock()
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(readyTimeout):
		said, err := os.ReadFile(u.log.Name())
		return errors.Join(err, fmt.Errorf("%s on %s is not ready after %v: %s", u.Component, u.Node.Name, readyTimeout, said[max(0, len(said)-2000):]))
	}
}

// Kill ends the component without warning and answers how long it was until it
// served again.
func (u *Unit) Kill(ctx context.Context) (time.Duration, error) {
	u.mu.Lock()
	pid, before := u.pid, u.ready
	u.mu.Unlock()
	began := time.Now()
	if err := signalChildren(pid, syscall.SIGKILL); err != nil {
		return 0, fmt.Errorf("%s on %s: %w", u.Component, u.Node.Name, err)
	}
	err := poll(ctx, readyTimeout, func() error {
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.ready == before {
			return errors.New("it has not ended yet")
		}
		return nil
	})
	err = errors.Join(err, u.Ready(ctx))
	return time.Since(began), err
}

// leave has the component not be started again: it ends with its host.
func (u *Unit) leave() { close(u.stopped) }

// signalChildren signals what nsenter has started.
func signalChildren(pid int, sig syscall.Signal) error {
	tree, err := platform.Tree(pid)
	if err != nil {
		return err
	}
	if len(tree) < 2 {
		return errors.New("it does not run")
	}
	tree[1:].Signal(sig)
	return nil
}
