package rpc

import (
	"context"
	"net"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// kernelSilence is Silence as the kernel counts it. It bounds the time that the
// kernel takes to connect, too: it asks again after a second, and gives up at once.
const kernelSilence = time.Second

// unread is how long the kernel lets the other process read nothing, where it does
// not keep to kernelSilence: longer than gRPC waits for the answer to a ping.
const unread = 45 * time.Second

// Dialer makes connections that the kernel breaks when the other host is gone: at
// the earliest after kernelSilence if something was sent, usually soon then, and if
// nothing is, soon after idle.
func Dialer(idle time.Duration) net.Dialer {
	return net.Dialer{Control: breakAfter, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: idle, Interval: time.Second, Count: 3}}
}

func breakAfter(network, _ string, c syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return nil // a database on this host
	}
	return setUserTimeout(c, kernelSilence)
}

// setUserTimeout says when the kernel breaks a connection off: TCP_USER_TIMEOUT of
// tcp(7).
func setUserTimeout(c syscall.RawConn, after time.Duration) error {
	var err error
	if controlErr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(after.Milliseconds()))
	}); controlErr != nil {
		return controlErr
	}
	return err
}

// databaseIdle is as long as may be: whoever waits for a database has sent it
// something.
const databaseIdle = 15 * time.Second

// DialDatabase connects to a database. If it is on another host, the connection
// breaks within Silence and a look.
func DialDatabase(ctx context.Context, network, address string) (net.Conn, error) {
	return dial(ctx, network, address, databaseIdle)
}

// componentIdle is short: who listens to a component on a host that is gone
// would miss what the others say.
const componentIdle = time.Second

// Dial connects to a component on another host. The connection breaks within
// Silence and a look.
func Dial(ctx context.Context, address string) (net.Conn, error) {
	return dial(ctx, "tcp", address, componentIdle)
}

func dial(ctx context.Context, network, address string, idle time.Duration) (net.Conn, error) {
	conn, err := connect(ctx, address, func(ctx context.Context, asked func()) (net.Conn, error) {
		d := Dialer(idle)
		d.Control = func(network, address string, c syscall.RawConn) error {
			asked()
			return breakAfter(network, address, c)
		}
		return d.DialContext(ctx, network, address)
	})
	if err != nil {
		return nil, err
	}
	if tcp, is := conn.(*net.TCPConn); is {
		return watch(tcp, address), nil
	}
	return conn, nil
}
