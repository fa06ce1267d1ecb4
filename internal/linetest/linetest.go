// Package linetest gives tests connections that can fall silent: nothing comes
// any more and nothing is said of what is sent, as when a machine at the other
// end is gone, or a firewall has forgotten the connection.
package linetest

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
)

// Line makes connections.
type Line struct {
	mu    sync.Mutex
	conns []*conn
}

// Dial is net.Dialer's.
func (l *Line) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = append(l.conns, &conn{Conn: c})
	return l.conns[len(l.conns)-1], nil
}

// Silence lets the connections that there are fall silent. New ones work.
func (l *Line) Silence() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		c.silent.Store(true)
	}
}

// Close ends the connections that are still there.
func (l *Line) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		c.Close()
	}
}

type conn struct {
	net.Conn
	silent atomic.Bool
}

// Read swallows what comes to a silent connection, until its deadline.
func (c *conn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if err != nil || !c.silent.Load() {
			return n, err
		}
	}
}

func (c *conn) Write(b []byte) (int, error) {
	if c.silent.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}
