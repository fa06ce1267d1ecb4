package ingress

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// within bounds what takes moments.
const within = 10 * time.Second

// site is a listener under test, and what it accepts.
type site struct {
	t        *testing.T
	address  string
	accepted chan net.Conn
}

func listen(t *testing.T, o Options) *site {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := New(inner, o, slog.New(slog.DiscardHandler))
	s := &site{t, inner.Addr().String(), make(chan net.Conn, 100)}
	go func() {
		defer close(s.accepted)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.accepted <- c
		}
	}()
	t.Cleanup(func() {
		l.Close()
		for c := range s.accepted {
			c.Close()
		}
	})
	return s
}

// dial connects from an address of this host, and sends something.
func (s *site) dial(from string, send []byte) net.Conn {
	s.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.DialContext(s.t.Context(), "tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	if _, err := c.Write(send); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// next answers what was accepted.
func (s *site) next() net.Conn {
	s.t.Helper()
	select {
	case c := <-s.accepted:
		return c
	case <-time.After(within):
		s.t.Fatal("nothing was accepted")
		return nil
	}
}

// refused checks that a connection was closed at once.
func (s *site) refused(what string, c net.Conn) {
	s.t.Helper()
	c.SetReadDeadline(time.Now().Add(within)) //nolint:errcheck // the read says so
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		s.t.Errorf("%s: %v, want the connection closed", what, err)
	}
}

// TestConnectionsOfAddress shows that an address which has as many connections
// as it may gets no other one, another address does, and that closing one makes
// room.
func TestConnectionsOfAddress(t *testing.T) {
	t.Parallel()
	s := listen(t, Options{PerAddress: 2})
	s.dial("127.0.0.1", nil)
	first := s.next()
	s.dial("127.0.0.1", nil)
	s.next()
	s.refused("the third connection", s.dial("127.0.0.1", nil))
	s.dial("127.0.0.2", nil)
	s.next()
	first.Close()
	first.Close() // counts once
	s.dial("127.0.0.1", nil)
	s.next()
	s.refused("one too many after one was closed", s.dial("127.0.0.1", nil))
}

// TestConnectionsOfNetwork shows that many addresses of one network are bounded
// together, unless they are a host's containers, and loopback if it is free.
func TestConnectionsOfNetwork(t *testing.T) {
	t.Parallel()
	s := listen(t, Options{PerAddress: 1, PerNetwork: true})
	for _, from := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"} {
		s.dial(from, nil)
		s.next()
	}
	s.refused("the sixth neighbour", s.dial("127.0.0.6", nil))
	s.dial("127.0.1.1", nil)
	s.next()
	for _, o := range []Options{{PerAddress: 1}, {PerAddress: 1, PerNetwork: true, FreeLoopback: true}} {
		s := listen(t, o)
		for _, from := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6"} {
			s.dial(from, nil)
			s.next()
		}
	}
}

// header is a header of the PROXY protocol.
func header(command, family byte, said ...byte) []byte {
	b := append([]byte(signature), command, family)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(said))), said...)
}

func tcp4(client netip.AddrPort) []byte {
	a := client.Addr().As4()
	said := append(a[:], 127, 0, 0, 1)
	said = binary.BigEndian.AppendUint16(said, client.Port())
	return header(proxied, overTCP4, append(said, 0, 80, 'm', 'o', 'r', 'e')...)
}

// TestProxyHeader shows whose a connection is: a trusted proxy says it, and
// nobody else does.
func TestProxyHeader(t *testing.T) {
	t.Parallel()
	six := netip.MustParseAddr("2001:db8::7").As16()
	said6 := append(append(append([]byte(nil), six[:]...), six[:]...), 0x12, 0x34, 0, 80)
	client := netip.MustParseAddrPort("203.0.113.9:4660")
	trusted := Proxies{netip.MustParsePrefix("127.0.0.1/32")}
	for _, tt := range []struct {
		name   string
		from   string
		send   []byte
		client string
		read   string // "" for a connection that is cut
	}{
		{"over TCP", "127.0.0.1", append(tcp4(client), "hello"...), "203.0.113.9", "hello"},
		{"over IPv6", "127.0.0.1", append(header(proxied, overTCP6, said6...), "hello"...), "2001:db8::7", "hello"},
		{"the proxy's own", "127.0.0.1", append(header(own, 0), "hello"...), "127.0.0.1", "hello"},
		{"none", "127.0.0.1", []byte("GET / HTTP/1.1\r\n"), "127.0.0.1", "GET / HTTP/1.1\r\n"},
		{"a stranger's", "127.0.0.2", append(tcp4(client), "hello"...), "127.0.0.2", string(tcp4(client)) + "hello"},
		{"another version", "127.0.0.1", append(header(0x11, overTCP4, make([]byte, 12)...), "hello"...), "127.0.0.1", ""},
		{"too short", "127.0.0.1", append(header(proxied, overTCP4, 1, 2, 3), "hello"...), "127.0.0.1", ""},
		{"too long", "127.0.0.1", append(header(proxied, overTCP4, make([]byte, 2000)...), "hello"...), "127.0.0.1", ""},
		{"datagrams", "127.0.0.1", append(header(proxied, 0x12, make([]byte, 12)...), "hello"...), "127.0.0.1", ""},
	} {
		s := listen(t, Options{PerAddress: 5, Proxies: trusted})
		s.dial(tt.from, tt.send).(*net.TCPConn).CloseWrite() //nolint:errcheck // the read says so
		c := s.next()
		host, _, err := net.SplitHostPort(c.RemoteAddr().String())
		got, readErr := io.ReadAll(c)
		if err != nil || host != tt.client || string(got) != tt.read || (readErr != nil) != (tt.read == "") {
			t.Errorf("%s: from %s, %v, read %q, %v; want from %s, %q", tt.name, host, err, got, readErr, tt.client, tt.read)
		}
	}
}

// TestClientsOfProxy shows that the clients behind a trusted proxy are counted,
// and the proxy is not.
func TestClientsOfProxy(t *testing.T) {
	t.Parallel()
	s := listen(t, Options{PerAddress: 1, Proxies: Proxies{netip.MustParsePrefix("127.0.0.0/24")}})
	one, two := netip.MustParseAddrPort("203.0.113.1:1"), netip.MustParseAddrPort("203.0.113.2:1")
	for _, client := range []netip.AddrPort{one, two} {
		s.dial("127.0.0.1", tcp4(client))
		s.next().RemoteAddr()
	}
	again := s.dial("127.0.0.1", tcp4(one))
	if _, err := s.next().Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the client's second connection: %v", err)
	}
	s.refused("the client's second connection", again)
}

// TestSlowHeader shows that the server's deadline still counts after a header.
func TestSlowHeader(t *testing.T) {
	t.Parallel()
	s := listen(t, Options{Proxies: Proxies{netip.MustParsePrefix("127.0.0.1/32")}})
	s.dial("127.0.0.1", tcp4(netip.MustParseAddrPort("203.0.113.9:1")))
	c := s.next()
	if err := c.SetDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil || !err.(net.Error).Timeout() {
		t.Errorf("Read = %v, want the deadline", err)
	}
}

// TestRefusedBody shows that a client hears the answer to a request whose body nobody
// reads, although its connection is closed, and that its place is kept until then.
func TestRefusedBody(t *testing.T) {
	t.Parallel()
	s := listen(t, Options{PerAddress: 1})
	c := s.dial("127.0.0.1", make([]byte, 100<<10))
	server := s.next()
	if _, err := io.ReadFull(server, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(server, "no"); err != nil {
		t.Fatal(err)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	s.refused("another connection", s.dial("127.0.0.1", nil))
	if _, err := c.Write(make([]byte, 1<<20)); err != nil { // it goes on to send
		t.Error(err)
	}
	if got, err := io.ReadAll(c); string(got) != "no" || err != nil {
		t.Errorf("the client hears %q, %v", got, err)
	}
	c.Close()
	for end := time.Now().Add(within); ; {
		d := s.dial("127.0.0.1", nil)
		if d.SetReadDeadline(time.Now().Add(100*time.Millisecond)) != nil {
			t.Fatal("no deadline")
		}
		if _, err := d.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("there is no place again")
		}
	}
}

func TestForwardedFor(t *testing.T) {
	t.Parallel()
	var trusted Proxies
	if err := trusted.UnmarshalText([]byte("10.0.0.0/8, 192.0.2.1")); err != nil {
		t.Fatal(err)
	}
	if got := trusted.String(); got != "10.0.0.0/8,192.0.2.1/32" {
		t.Errorf("String = %q", got)
	}
	for _, tt := range []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"a proxy's", "10.0.0.1", []string{"203.0.113.9"}, "203.0.113.9"},
		{"with a port", "10.0.0.1", []string{"203.0.113.9:4660"}, "203.0.113.9"},
		{"mapped", "::ffff:10.0.0.1", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		{"the client wrote the first", "10.0.0.1", []string{"198.51.100.1, 203.0.113.9"}, "203.0.113.9"},
		{"the client wrote a header", "10.0.0.1", []string{"198.51.100.1", "203.0.113.9"}, "203.0.113.9"},
		{"two proxies", "10.0.0.1", []string{"198.51.100.1, 203.0.113.9, 192.0.2.1"}, "203.0.113.9"},
		{"a stranger's", "203.0.113.7", []string{"198.51.100.1"}, "203.0.113.7"},
		{"none", "10.0.0.1", nil, "10.0.0.1"},
		{"garbage", "10.0.0.1", []string{"203.0.113.9, unknown"}, "10.0.0.1"},
		{"proxies only", "10.0.0.1", []string{"10.0.0.2"}, "10.0.0.2"},
	} {
		if got := trusted.Client(tt.peer, tt.forwarded); got != tt.want {
			t.Errorf("%s: Client = %s, want %s", tt.name, got, tt.want)
		}
	}
	if err := trusted.UnmarshalText([]byte("10.0.0.0/33")); err == nil {
		t.Error("10.0.0.0/33 is taken")
	}
}

// TestFrames shows which clients of HTTP/2 are cut off.
func TestFrames(t *testing.T) {
	t.Parallel()
	block := []byte{0x82}
	call := func(w *http2.Framer, id uint32) error {
		return w.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true})
	}
	for _, tt := range []struct {
		name    string
		times   int
		send    func(w *http2.Framer, id uint32) error
		flooded bool
	}{
		{"calls", 4000, call, false},
		{"calls with data", 5000, func(w *http2.Framer, id uint32) error {
			if err := call(w, id); err != nil {
				return err
			}
			return w.WriteData(id, true, make([]byte, 100))
		}, false},
		{"a third is cancelled", 3000, func(w *http2.Framer, id uint32) error {
			if id%6 == 1 {
				if err := w.WriteRSTStream(id, http2.ErrCodeCancel); err != nil {
					return err
				}
			}
			return call(w, id)
		}, false},
		{"a few, all cancelled", 200, func(w *http2.Framer, id uint32) error {
			if err := call(w, id); err != nil {
				return err
			}
			return w.WriteRSTStream(id, http2.ErrCodeCancel)
		}, false},
		{"many, all cancelled", 201, func(w *http2.Framer, id uint32) error {
			if err := call(w, id); err != nil {
				return err
			}
			return w.WriteRSTStream(id, http2.ErrCodeCancel)
		}, true},
		{"too many cancelled among good ones", 2001, func(w *http2.Framer, id uint32) error {
			for range 3 {
				if err := call(w, id); err != nil {
					return err
				}
			}
			return w.WriteRSTStream(id, http2.ErrCodeCancel)
		}, true},
		{"settings", 501, func(w *http2.Framer, _ uint32) error { return w.WriteSettings() }, true},
		{"continuations", 501, func(w *http2.Framer, id uint32) error { return w.WriteContinuation(1, false, nil) }, true},
		{"empty data", 501, func(w *http2.Framer, id uint32) error { return w.WriteData(1, false, nil) }, true},
		{"priorities", 501, func(w *http2.Framer, id uint32) error {
			return w.WritePriority(id, http2.PriorityParam{StreamDep: 0, Weight: 1})
		}, true},
	} {
		var sent bytes.Buffer
		sent.WriteString(http2.ClientPreface)
		w := http2.NewFramer(&sent, nil)
		w.AllowIllegalWrites = true
		for i := range tt.times {
			if err := tt.send(w, uint32(2*i+1)); err != nil {
				t.Fatal(err)
			}
		}
		for _, size := range []int{1, 7, 4096, sent.Len()} {
			f, flooded := newFrames(200, newArriving(NewRoom(0, slog.New(slog.DiscardHandler)), nil)), false
			for b := sent.Bytes(); len(b) > 0 && !flooded; {
				n := min(size, len(b))
				flooded = f.flooded(b[:n], time.Unix(1_800_000_000, 0))
				b = b[n:]
			}
			if flooded != tt.flooded {
				t.Errorf("%s, %d bytes at a time: flooded = %v, want %v", tt.name, size, flooded, tt.flooded)
			}
		}
	}
	f := newFrames(1, newArriving(NewRoom(0, slog.New(slog.DiscardHandler)), nil))
	f.empty = maxIdle + 1
	if f.since = time.Unix(0, 0); f.flooded(nil, time.Unix(11, 0)) {
		t.Error("what was ten seconds ago counts")
	}
}

func FuzzHeader(f *testing.F) {
	f.Add(tcp4(netip.MustParseAddrPort("203.0.113.9:1")))
	f.Add([]byte(signature))
	f.Add([]byte("\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		client, rest, err := readHeader(bytes.NewReader(b))
		if err == nil && !client.IsValid() && len(rest) == 0 && len(b) > 0 && !bytes.HasPrefix(b, []byte(signature)) {
			t.Errorf("%q: its bytes are lost", b)
		}
	})
}
