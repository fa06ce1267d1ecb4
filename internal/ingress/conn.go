package ingress

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// headerWithin is how long a trusted proxy may take to say whose a connection is.
const headerWithin = 5 * time.Second

// conn is a connection that counts until it is closed. One of a trusted proxy is
// nobody's until the first bytes have been read, by who asks for them or for the
// address: whoever serves it does that in a goroutine of the connection's own.
type conn struct {
	net.Conn
	listener *Listener
	headed   bool // a proxy's: may begin with a header
	frames   *frames

	begin sync.Once
	first []byte // read with the header, and the client's
	err   error  // of reading the header
	cut   bool   // for what it sent

	mu       sync.Mutex
	client   net.Addr
	leave    func()
	closed   bool
	deadline time.Time // for reading, as the server wants it
}

// enter takes a place for the client.
func (c *conn) enter() bool {
	leave, ok := c.listener.take(addrOf(c.client))
	if !ok {
		c.listener.log.Debug("too many connections", "client", c.client.String())
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		leave()
		return false
	}
	c.leave = leave
	return true
}

// resolve reads what a trusted proxy says of the connection.
func (c *conn) resolve() {
	if !c.headed {
		return
	}
	c.begin.Do(func() {
		_ = c.Conn.SetReadDeadline(time.Now().Add(headerWithin)) // the read fails if it cannot be set
		from, rest, err := readHeader(c.Conn)
		c.first, c.err = rest, err
		c.mu.Lock()
		if from.IsValid() {
			c.client = net.TCPAddrFromAddrPort(from)
		}
		deadline := c.deadline
		c.mu.Unlock()
		_ = c.Conn.SetReadDeadline(deadline) // likewise
		if err == nil && !c.enter() {
			c.err = io.EOF
		}
		if c.err != nil {
			c.Close()
		}
	})
}

// RemoteAddr implements net.Conn: it is the client's.
func (c *conn) RemoteAddr() net.Addr {
	c.resolve()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.client
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	if c.resolve(); c.err != nil {
		return 0, c.err
	}
	if c.cut {
		return 0, os.ErrClosed
	}
	var n int
	var err error
	if len(c.first) > 0 {
		n = copy(p, c.first)
		c.first = c.first[n:]
	} else {
		n, err = c.Conn.Read(p)
	}
	if c.frames != nil && c.frames.flooded(p[:n], time.Now()) {
		c.listener.log.Debug("a connection asks for nothing but work", "client", c.RemoteAddr().String())
		c.cut = true
		c.Close()
		return 0, os.ErrClosed
	}
	return n, err
}

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	c.deadline = t
	c.mu.Unlock()
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	c.deadline = t
	c.mu.Unlock()
	return c.Conn.SetReadDeadline(t)
}

// CloseWrite says to the client that nothing more comes.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.mu.Lock()
	c.closed = true
	leave := c.leave
	c.mu.Unlock()
	leave()
	return c.Conn.Close()
}
