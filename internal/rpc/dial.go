package rpc

import (
	"context"
	"net"
	"syscall"
	"time"
)

// Silence is how long another host may leave unacknowledged what it was sent
// before the connection is broken off. The kernel acknowledges, however busy the
// process is.
const Silence = time.Second

// Dialer makes connections that break when the other host is gone: after
// Silence if something was sent, and if nothing is, soon after idle.
func Dialer(idle time.Duration) net.Dialer {
	return net.Dialer{Control: breakAfter, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: idle, Interval: max(time.Second, idle/3), Count: 3}}
}

// tcpUserTimeout is an option of Linux that package syscall does not name.
const tcpUserTimeout = 0x12

func breakAfter(_, _ string, c syscall.RawConn) error {
	var err error
	if controlErr := c.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(Silence.Milliseconds()))
	}); controlErr != nil {
		return controlErr
	}
	return err
}

// databaseIdle is as long as may be: whoever waits for a database has sent it
// something.
const databaseIdle = 15 * time.Second

// DialDatabase connects to a database on another host.
func DialDatabase(ctx context.Context, network, address string) (net.Conn, error) {
	d := Dialer(databaseIdle)
	return d.DialContext(ctx, network, address)
}

// componentIdle is short: who listens to a component on a host that is gone
// would miss what the others say.
const componentIdle = time.Second

// Dial connects to a component on another host.
func Dial(ctx context.Context, address string) (net.Conn, error) {
	d := Dialer(componentIdle)
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return tcp{conn}, nil
}

// tcp hides what a connection is from gRPC, which would set Silence to the time
// that it gives its own pings.
type tcp struct{ net.Conn }
