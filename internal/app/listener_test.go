package app

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// TestLastConnections shows that a listener which is closed answers who had
// connected before, and is still there.
func TestLastConnections(t *testing.T) {
	t.Parallel()
	const clients = 5
	l, err := new(Host).Listen("", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all []net.Conn
	gone, err := net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(gone.SetLinger(0), gone.Close()); err != nil { // a reset, which the listener still has
		t.Fatal(err)
	}
	for range clients {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second)) //nolint:errcheck // reading says so
		all = append(all, conn)
	}
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	for range clients {
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if conn.RemoteAddr() == nil {
			t.Error("a client without an address is let in")
		}
		io.WriteString(conn, "in") //nolint:errcheck // it is read below
		conn.Close()
	}
	for i, conn := range all {
		if said, err := io.ReadAll(conn); string(said) != "in" {
			t.Errorf("client %d got %q: %v", i, said, err)
		}
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("with nobody left Accept answers %v", err)
	}
}
