package outside

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestPublic is what the platform connects to for a tenant (S6, T3).
func TestPublic(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]bool{
		"140.82.121.4": true, "2606:50c0:8000::153": true, "127.0.0.1": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false,
		"169.254.169.254": false, "100.64.0.1": false, "0.0.0.0": false, "224.0.0.1": false, "255.255.255.255": false, "::1": false, "::": false,
		"fe80::1": false, "fd00::1": false, "ff02::1": false, "::ffff:127.0.0.1": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false,
	} {
		if got := Public(netip.MustParseAddr(in)); got != want {
			t.Errorf("Public(%s) = %v", in, got)
		}
	}
}

// TestDialer shows that no name and no spelling of an address leads inside.
func TestDialer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]", "2130706433", "0x7f.1", "127.1"} {
		conn, err := Dialer{Timeout: 5 * time.Second}.DialContext(t.Context(), "tcp", host+":"+port)
		if err == nil {
			conn.Close()
			t.Errorf("%s leads inside", host)
		}
	}
	open := Dialer{Timeout: 5 * time.Second, Open: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	conn, err := open.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	for _, tt := range []struct {
		name, address string
		dialer        Dialer
		want          error
	}{
		{"a closed network", "1.1.1.1:80", Dialer{Closed: []netip.Prefix{netip.MustParsePrefix("1.1.1.0/24")}}, ErrInside},
		{"a closed network, as IPv6", "[::ffff:1.1.1.1]:80", Dialer{Closed: []netip.Prefix{netip.MustParsePrefix("1.1.1.0/24")}}, ErrInside},
		{"mail", "1.1.1.1:25", Dialer{}, ErrMail},
		{"mail by name", "1.1.1.1:smtp", Dialer{}, ErrMail},
		{"mail to an open network", "127.0.0.1:25", Dialer{Open: open.Open}, ErrMail},
	} {
		tt.dialer.Timeout = time.Second
		if _, err := tt.dialer.DialContext(t.Context(), "tcp", tt.address); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if !own(netip.MustParseAddr("127.0.0.1")) || own(netip.MustParseAddr("1.1.1.1")) {
		t.Error("this host does not know its addresses")
	}
	if _, err := (Dialer{}).DialContext(t.Context(), "tcp", "nowhere"); err == nil || strings.Contains(err.Error(), "inside") {
		t.Errorf("no port: %v", err)
	}
}
