package rpc

import (
	"net"
	"path/filepath"
	"testing"
)

// TestDialUnixSocket connects to a database on this host.
func TestDialUnixSocket(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := DialDatabase(t.Context(), "unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}
