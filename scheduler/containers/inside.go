package containers

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// dialInside connects to an address from the network of a process. The thread
// that went there ends with the goroutine that is locked to it: no other may run
// on it.
func dialInside(ctx context.Context, pid int, address string) (net.Conn, error) {
	if pid <= 0 {
		return nil, fmt.Errorf("the container has no process")
	}
	network, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil, err
	}
	defer network.Close()
	var conn net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err = unix.Setns(int(network.Fd()), unix.CLONE_NEWNET); err != nil {
			return
		}
		// An address of IP is connected to on this very thread.
		var dialer net.Dialer
		conn, err = dialer.DialContext(ctx, "tcp", address)
	}()
	<-done
	return conn, err
}
