package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// runAs is the user that the children run as when this process is root:
// Postgres refuses root, and neither needs it.
type runAs struct {
	cred *syscall.Credential // nil: the user of this process
}

// lookUser finds the user to run children as. Nothing changes for a process
// that is not root.
func lookUser(name string) (runAs, error) {
	if os.Geteuid() != 0 {
		return runAs{}, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return runAs{}, fmt.Errorf("there is no user %q to run Postgres as, which must not run as root: install postgresql, or name another user in MICRO_SERVER_USER", name)
	}
	uid, _ := strconv.ParseUint(u.Uid, 10, 32)
	gid, _ := strconv.ParseUint(u.Gid, 10, 32)
	if uid == 0 {
		return runAs{}, errors.New("MICRO_SERVER_USER must not be root")
	}
	return runAs{&syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

// own makes dir for the user alone.
func (r runAs) own(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if r.cred == nil {
		return nil
	}
	return os.Chown(dir, int(r.cred.Uid), int(r.cred.Gid))
}

// file hands out text in a file that has no name, and that only the user can
// read.
func (r runAs) file(text string) (*os.File, error) {
	f, err := os.CreateTemp("", "micro-")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Remove(f.Name()), r.chown(f)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := f.WriteString(text + "\n"); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (r runAs) chown(f *os.File) error {
	if r.cred == nil {
		return nil
	}
	return f.Chown(int(r.cred.Uid), int(r.cred.Gid))
}

// fdDir is how a child names the directory that it was handed as its first
// extra file. The child's user may not be able to walk to it (root's home is
// closed to others), but it may use what it was handed.
const fdDir = "/proc/self/fd/3"

// fdFile is how a child names the file that it was handed after the directory.
const fdFile = "/proc/self/fd/4"

// command makes a child that finds dir under fdDir. The returned func closes
// this process's own handle of the directory, once the child has started.
func (r runAs) command(ctx context.Context, dir, path string, args ...string) (*exec.Cmd, func(), error) {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: r.cred,
		Setpgid:    true, // a Ctrl-C in the terminal is ours to pass on
		Pdeathsig:  syscall.SIGINT,
	}
	if dir == "" {
		return cmd, func() {}, nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	cmd.ExtraFiles = []*os.File{f}
	return cmd, func() { f.Close() }, nil
}

// child is a running server.
type child struct {
	name string
	cmd  *exec.Cmd
	log  *tail
	done chan struct{}
	err  error // how it ended; read it after done
}

// start runs cmd until stop. The thread that starts it stays: the kernel sends
// the parent-death signal when that thread ends, not the process.
func start(name string, cmd *exec.Cmd) (*child, error) {
	c := &child{name: name, cmd: cmd, log: &tail{}, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = c.log, c.log
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			c.err = cmd.Wait()
			close(c.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return c, nil
}

// ready polls until probe succeeds. It fails when the child ends first.
func (c *child) ready(ctx context.Context, probe func(context.Context) error) error {
	for {
		err := probe(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-c.done:
			return fmt.Errorf("%s ended while starting: %s", c.name, c.log)
		case <-ctx.Done():
			return fmt.Errorf("%s did not become ready: %w: %s", c.name, err, c.log)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// stop sends sig and waits; when ctx ends the child is killed.
func (c *child) stop(ctx context.Context, sig syscall.Signal) {
	c.cmd.Process.Signal(sig) //nolint:errcheck // it may have ended by itself
	select {
	case <-c.done:
	case <-ctx.Done():
		c.cmd.Process.Kill() //nolint:errcheck // as above
		<-c.done
	}
}

// tail keeps the last lines that a child said, for the error when it fails.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if over := len(t.b) - tailSize; over > 0 {
		t.b = bytes.Clone(t.b[over:])
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.b))
}
