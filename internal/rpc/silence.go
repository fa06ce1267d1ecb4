package rpc

import (
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Silence is how long another host may leave unacknowledged what it was sent
// before the connection is broken off. The other kernel acknowledges, however busy
// the process is, as long as there is room for what it has not read. Linux sends
// again what was lost after 0.2 s and after 0.6 s, if round trips are short: there
// is time for an answer to the second, and callers hear within a second that nobody
// is there.
const Silence = 700 * time.Millisecond

// lookEvery is how often a connection is looked at.
const lookEvery = Silence / 5

// patientTrips is how many round trips may go by, if that is longer than Silence:
// the kernel sends what was lost again after two and a bit.
const patientTrips = 4

// watched is a connection that keeps to Silence. The kernel alone does not: it
// counts from when it sends again what was lost, and has that wait for longer the
// more round trips have varied, for seconds after a busy time (RFC 6298).
//
// gRPC does not take it for TCP: it would set the kernel's time to the time that
// it gives its own pings.
type watched struct {
	*net.TCPConn
	address string
	broken  atomic.Bool // since the other host is silent
	silence silence
}

// watch keeps a connection to an address to Silence until it is closed.
func watch(tcp *net.TCPConn, address string) net.Conn {
	c := &watched{TCPConn: tcp, address: address}
	c.relieveKernel()
	go c.watch() // ends with Close
	return c
}

// relieveKernel leaves the connection to watch, if the kernel tells that enough:
// from Linux 5.11 it would also break off when the other process has read nothing
// for kernelSilence. One of the two is enough: nothing is wrong if this fails.
func (c *watched) relieveKernel() {
	info, err := TCPInfo(c.TCPConn)
	if err != nil || info.Delivered == 0 || info.Snd_wnd == 0 {
		return
	}
	raw, err := c.SyscallConn()
	if err != nil || setUserTimeout(raw, unread) != nil {
		return
	}
	c.silence.tellsRoom = true
}

// watch breaks the connection off when the other host is silent. It ends with Close.
func (c *watched) watch() {
	for {
		// All connections at once: it is waking up that costs.
		time.Sleep(lookEvery - time.Duration(time.Now().UnixNano())%lookEvery)
		info, err := TCPInfo(c.TCPConn)
		if err != nil {
			return
		}
		if c.silence.lasts(info) {
			quiet.set(c.address, true)
			c.broken.Store(true)
			c.SetLinger(0) //nolint:errcheck // it may have been closed
			c.Close()      //nolint:errcheck // what it had to send is lost
			return
		}
	}
}

// Read implements net.Conn. It fails as if the kernel had broken the connection off.
func (c *watched) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	if err != nil && c.broken.Load() {
		err = &net.OpError{Op: "read", Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: syscall.ETIMEDOUT}
	}
	return n, err
}

// silence is what looks at a connection have seen.
type silence struct {
	tellsRoom bool   // the kernel tells how much room the other host has, as it does from Linux 5.4
	owing     bool   // the other host has something to acknowledge
	delivered uint32 // segments it has had so far, its first included; 0 from Linux before 4.18
	looks     int    // at which this was so, after the first
}

// lasts takes another look, and says whether there were enough without any
// acknowledgement. They count, not the time: this process may have stood still.
func (s *silence) lasts(i *unix.TCPInfo) bool {
	owing := i.Delivered > 0 && (i.Unacked > 0 || i.Probes > 0)
	// Who has no room leaves probes for it unanswered, and drops what still comes.
	if s.tellsRoom && i.Snd_wnd == 0 {
		owing = false
	}
	if !owing || !s.owing || i.Delivered != s.delivered {
		*s = silence{tellsRoom: s.tellsRoom, owing: owing, delivered: i.Delivered}
		return false
	}
	s.looks++
	roundTrip := time.Duration(i.Rtt) * time.Microsecond
	return time.Duration(s.looks)*lookEvery >= max(Silence, patientTrips*roundTrip)
}

// TCPInfo is what the kernel knows of a connection that is open.
func TCPInfo(c *net.TCPConn) (info *unix.TCPInfo, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	if controlErr := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); controlErr != nil {
		return nil, controlErr
	}
	return info, err
}
