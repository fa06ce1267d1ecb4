package proxy

import (
	"io"
	"net"
	"testing"
	"time"
)

// TestFair shows that an address which has as many connections as it may gets
// no other one, another address does, and that closing one makes room.
func TestFair(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := newFair(inner, 2)
	accepted := make(chan net.Conn, 10)
	go func() {
		defer close(accepted)
		for {
			c, err := f.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	t.Cleanup(func() {
		f.Close()
		for c := range accepted {
			c.Close()
		}
	})
	dial := func(from string) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.DialContext(t.Context(), "tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	next := func() net.Conn {
		t.Helper()
		select {
		case c := <-accepted:
			return c
		case <-time.After(10 * time.Second):
			t.Fatal("nothing was accepted")
			return nil
		}
	}
	dial("127.0.0.1")
	first := next()
	dial("127.0.0.1")
	next()
	refused := dial("127.0.0.1")
	if _, err := refused.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the third connection: %v", err)
	}
	dial("127.0.0.2")
	next()
	first.Close()
	first.Close() // counts once
	dial("127.0.0.1")
	next()
	refused = dial("127.0.0.1")
	if _, err := refused.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("one too many after one was closed: %v", err)
	}
}
