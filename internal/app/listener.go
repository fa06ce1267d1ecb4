package app

import (
	"errors"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// listener lets in, when it is closed, who has connected until then: Linux resets
// the connections that wait to be accepted, of which a busy machine has some. A
// server has to accept until it gets an error; gRPC's lets nobody in any more.
type listener struct {
	*net.TCPListener

	closing sync.Once
	closed  error
	last    []net.Conn // who waited
}

// Accept implements net.Listener. After Close it answers those who waited, then
// an error.
func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.TCPListener.Accept()
	if !errors.Is(err, net.ErrClosed) {
		return conn, err
	}
	l.Close() //nolint:errcheck // to have what it does done
	if len(l.last) == 0 {
		return nil, err
	}
	conn, l.last = l.last[0], l.last[1:]
	return conn, nil
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.closing.Do(func() {
		waiting := l.waiting()
		l.closed = l.TCPListener.Close()
		for _, fd := range waiting {
			f := os.NewFile(uintptr(fd), "accepted")
			conn, err := net.FileConn(f)
			switch {
			case err != nil:
			case conn.RemoteAddr() == nil: // who has reset it meanwhile awaits nothing
				conn.Close()
			default:
				l.last = append(l.last, conn)
			}
			f.Close()
		}
	})
	return l.closed
}

// maxWaiting is as long as queues of connections are by Linux' default
// (net.core.somaxconn): in a flood others come while those are accepted.
const maxWaiting = 4096

// waiting accepts all connections that wait for it.
func (l *listener) waiting() (fds []int) {
	raw, err := l.SyscallConn()
	if err != nil {
		return nil // it was closed behind our back
	}
	raw.Control(func(listens uintptr) { //nolint:errcheck // likewise
		for range maxWaiting {
			fd, _, err := unix.Accept4(int(listens), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			switch {
			case err == nil:
				fds = append(fds, fd)
			case !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ECONNABORTED):
				return
			}
		}
	})
	return fds
}
