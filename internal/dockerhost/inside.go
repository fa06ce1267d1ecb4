package dockerhost

import (
	"fmt"
	"net"
	"os"
	"runtime"

	"github.com/docker/docker/client"
	"golang.org/x/sys/unix"
)

// firstProcess is the one that a host starts with.
const firstProcess = 1

// Files answers where this process sees the files of Docker's own host, "/" to
// Docker itself: it may see other mounts, as in a container, which takes root and
// the host's process numbers then.
func Files(c *client.Client) (string, error) {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: Socket(c), Net: "unix"})
	if err != nil {
		return "", Unreachable(c.DaemonHost(), err)
	}
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return "", err
	}
	var docker *unix.Ucred // or who listens for it
	if controlled := raw.Control(func(fd uintptr) { docker, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); controlled != nil {
		return "", controlled
	}
	if err != nil {
		return "", fmt.Errorf("whose socket %s is: %w", c.DaemonHost(), err)
	}
	// A process of other numbers than this one's is 0: in a container with the
	// host's /proc it is looked for there.
	return fmt.Sprintf("/proc/%d/root", max(docker.Pid, firstProcess)), nil
}

// Inside runs f in a network, named by its file. Sockets that f opens stay there;
// whatever f starts does not run there.
func Inside(network string, f func() error) error {
	file, err := os.Open(network)
	if err != nil {
		return err
	}
	defer file.Close()
	done := make(chan error, 1)
	go func() {
		// The thread ends with the goroutine that is locked to it: no other may
		// run on it.
		runtime.LockOSThread()
		if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter the network %s: %w", network, err)
			return
		}
		done <- f()
	}()
	return <-done
}
