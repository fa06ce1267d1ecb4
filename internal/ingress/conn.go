package ingress

import (
	"bytes"
	"io"
	"math"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/sys/unix"
)

const (
	// headerWithin is how long a trusted proxy may take to say whose a connection is.
	headerWithin = 5 * time.Second
	// evictedText is what it is told.
	evictedText = "too many bytes of messages are on their way to this server: try again"
)

// tellWithin is how long it may take each to tell a client why its connection ends,
// and the client to close its side. Tests have it take longer.
var tellWithin = time.Second

// conn is a connection that counts until it is closed. One of a trusted proxy is
// nobody's until the first bytes have been read, by who asks for them or for the
// address: whoever serves it does that in a goroutine of the connection's own.
type conn struct {
	net.Conn
	listener *Listener
	headed   bool // a proxy's: may begin with a header
	frames   *frames
	arriving *arriving // nil without frames, and answers, too
	answers  *answers
	writing  sync.Mutex // held while answers and what is written belong together

	begin sync.Once
	first []byte // read with the header, and the client's
	err   error  // of reading the header
	cut   bool   // for what it sent

	mu       sync.Mutex
	client   net.Addr
	leave    func()
	closed   bool
	evicted  bool
	deadline time.Time // for reading, as the server wants it
}

// enter takes a place for the client.
func (c *conn) enter() bool {
	from := addrOf(c.client)
	leave, ok := c.listener.take(from)
	if !ok {
		c.listener.log.Debug("too many connections", "client", c.client.String())
		return false
	}
	if c.arriving != nil {
		c.arriving.of(from)
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
	if c.isEvicted() {
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
	if c.isEvicted() { // meanwhile, or for this
		return 0, os.ErrClosed
	}
	return n, err
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	if c.answers == nil {
		return c.Conn.Write(p)
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.isEvicted() {
		return 0, os.ErrClosed
	}
	c.answers.sent(p)
	return c.Conn.Write(p)
}

func (c *conn) isEvicted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.evicted
}

// evict has the connection end for the memory that its messages take: who serves it
// reads nothing more, and closes it.
func (c *conn) evict() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.evicted = true
	// Whoever reads or writes is to notice. Where that fails the connection is gone.
	_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
	_ = c.Conn.SetWriteDeadline(time.Now().Add(tellWithin))
}

// sayWhy tells the client of an evicted connection why it ends, unless it would be in
// the middle of something else.
func (c *conn) sayWhy() bool {
	c.writing.Lock()
	defer c.writing.Unlock()
	var why bytes.Buffer
	if err := http2.NewFramer(&why, nil).WriteGoAway(math.MaxInt32, http2.ErrCodeEnhanceYourCalm, []byte(evictedText)); err != nil || !c.answers.between() {
		return false
	}
	_, err := c.Conn.Write(why.Bytes())
	return err == nil
}

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deadline = t; c.evicted || c.closed {
		return os.ErrClosed
	}
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deadline = t; c.evicted || c.closed {
		return os.ErrClosed
	}
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
	again, evicted, leave := c.closed, c.evicted, c.leave
	c.closed = true
	c.mu.Unlock()
	if c.arriving != nil {
		c.arriving.close()
	}
	if !evicted && (again || c.frames != nil || !c.unread()) {
		leave()
		return c.Conn.Close()
	}
	if !again {
		go func() { // ends within twice tellWithin, as the deadlines have it
			defer leave()
			defer c.Conn.Close()
			if !evicted || c.sayWhy() {
				c.drain()
			}
		}()
	}
	return nil
}

// unread says whether the client has sent what nobody has read. A connection that is
// closed so is reset, and the client may not hear the answer that is on its way.
func (c *conn) unread() (is bool) {
	t, ok := c.Conn.(*net.TCPConn)
	if !ok {
		return false
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Control(func(fd uintptr) {
		n, err := unix.IoctlGetInt(int(fd), unix.SIOCINQ)
		is = err == nil && n > 0
	})
	return is && err == nil
}

// drain ends the connection for the client, and reads until it has ended it, too.
func (c *conn) drain() {
	_ = c.CloseWrite() // it may be so already
	if c.Conn.SetReadDeadline(time.Now().Add(tellWithin)) == nil {
		_, _ = io.Copy(io.Discard, c.Conn)
	}
}
