package platform

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a running micro.
type process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}

	mu   sync.Mutex
	said []string // the last lines, for errors
}

// ready is what a micro process prints when it serves.
const ready = " is ready"

// start runs micro under a name and waits until it says that it is ready.
func (p *Platform) start(ctx context.Context, name string, env []string, args ...string) error {
	cmd := exec.Command(p.Micro, args...)
	cmd.Env = env
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	// The processes go when this one goes, whatever happens to it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if p.Prepare != nil {
		p.Prepare(cmd)
	}
	x := &process{name: name, cmd: cmd, done: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.processes = append(p.processes, x)
	isReady := make(chan struct{})
	go x.read(r, p.Log, isReady)
	go func() { cmd.Wait(); w.Close(); close(x.done) }() //nolint:errcheck // how it ended is in what it said
	select {
	case <-isReady:
		return nil
	case <-x.done:
		return fmt.Errorf("micro %s ended: %s", strings.Join(args, " "), x.last())
	case <-ctx.Done():
		return fmt.Errorf("micro %s: %w", strings.Join(args, " "), ctx.Err())
	case <-time.After(time.Minute):
		return fmt.Errorf("micro %s is not ready after a minute: %s", strings.Join(args, " "), x.last())
	}
}

func (x *process) read(r io.Reader, log io.Writer, isReady chan struct{}) {
	s := bufio.NewScanner(r)
	for s.Scan() {
		line := s.Text()
		if log != nil {
			fmt.Fprintf(log, "[%s] %s\n", x.name, line)
		}
		x.mu.Lock()
		x.said = append(x.said, line)
		x.said = x.said[max(0, len(x.said)-20):]
		x.mu.Unlock()
		if isReady != nil && strings.Contains(line, ready) {
			close(isReady)
			isReady = nil
		}
	}
	io.Copy(io.Discard, r) //nolint:errcheck // a line too long: keep the process from blocking
}

func (x *process) last() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return strings.Join(x.said, "\n")
}

// stop asks, and after 12 seconds no longer asks: a clean stop takes 10.
func (x *process) stop() {
	x.cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may be gone
	select {
	case <-x.done:
	case <-time.After(12 * time.Second):
		x.cmd.Process.Kill() //nolint:errcheck // as above
		<-x.done
	}
}
