package app

import (
	"errors"
	"io"
	"net"
	"testing"
)

// TestLastConnections shows that a listener which is closed answers who had
// connected before.
func TestLastConnections(t *testing.T) {
	t.Parallel()
	const clients = 5
	l, err := new(Host).Listen("", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all []net.Conn
	for range clients {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
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
