package proxy_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	authpb "github.com/micro/platform/proto/auth"
	"github.com/micro/platform/proxy"
	"github.com/micro/platform/proxy/edge/edgetest"
)

// attacker is a client of HTTP/2 that says what it wants.
type attacker struct {
	net.Conn
	*http2.Framer
	headers []byte // of a call, encoded without a table

	cut chan time.Time // when the edge closed the connection
}

// attack connects as a client that reads all that it is sent.
func attack(address, token string, settings ...http2.Setting) (*attacker, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	a := &attacker{Conn: c, Framer: http2.NewFramer(c, nil), cut: make(chan time.Time, 1)}
	a.AllowIllegalWrites = true
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", "/echo.Echo/Call"}, {":authority", "x"},
		{"content-type", "application/grpc+json"}, {"te", "trailers"}, {"authorization", "Bearer " + token}} {
		if err := enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1], Sensitive: true}); err != nil {
			return nil, err
		}
	}
	a.headers = block.Bytes()
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		return nil, err
	}
	go func() {
		_, _ = io.Copy(io.Discard, c)
		a.cut <- time.Now()
	}()
	return a, a.WriteSettings(settings...)
}

// floods are what an attacker sends again and again.
var floods = []struct {
	name string
	send func(a *attacker, id uint32) error
}{
	{"rapid reset", func(a *attacker, id uint32) error {
		if err := a.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: a.headers, EndHeaders: true}); err != nil {
			return err
		}
		return a.WriteRSTStream(id, http2.ErrCodeCancel)
	}},
	{"settings", func(a *attacker, _ uint32) error { return a.WriteSettings() }},
	{"pings", func(a *attacker, _ uint32) error { return a.WritePing(false, [8]byte{}) }},
	{"priorities", func(a *attacker, id uint32) error { return a.WritePriority(id, http2.PriorityParam{Weight: 1}) }},
	{"empty continuations", func(a *attacker, id uint32) error {
		if id == 1 {
			return a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.headers})
		}
		return a.WriteContinuation(1, false, nil)
	}},
	{"large continuations", func(a *attacker, id uint32) error {
		if id == 1 {
			return a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.headers})
		}
		return a.WriteContinuation(1, false, bytes.Repeat([]byte{0, 1, 'a', 1, 'b'}, 3000))
	}},
}

// TestFloods shows, for each flood of frames that costs its client nothing, that
// the edge cuts ten connections which send it off within a second each, and that
// the calls of others go on (E13).
func TestFloods(t *testing.T) {
	t.Parallel()
	p := edgetest.New(t)
	address := freeAddress(t)
	p.Run(t, map[string]string{"MICRO_PROXY_ADDRESS": address, "MICRO_PROXY_CONTAINER_ADDRESS": "none"}, proxy.Component)
	e := &edge{p, t, dial(t, address)}
	p.Register("acme", edgetest.NewService(t, "echo").Entry())
	token := p.User(t, "acme")
	e.until(codes.OK, "/echo.Echo/Call", bearer(token)...)
	alone := e.p99(time.Second, bearer(token))
	for _, flood := range floods {
		t.Run(flood.name, func(t *testing.T) {
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					a, err := attack(address, token)
					if err != nil {
						t.Error(err)
						return
					}
					defer a.Close()
					began := time.Now()
					a.SetWriteDeadline(began.Add(settle)) //nolint:errcheck // the writes say so
					for id := uint32(1); err == nil; id += 2 {
						err = flood.send(a, id)
					}
					select {
					case at := <-a.cut:
						// A second is the goal; other tests run on this machine, too.
						if took := at.Sub(began); took > 3*time.Second || !gone(err) {
							t.Errorf("cut off after %s: %v", took, err)
						}
					case <-time.After(settle):
						t.Errorf("not cut off: %v", err)
					}
				})
			}
			during := e.p99(500*time.Millisecond, bearer(token))
			wg.Wait()
			t.Logf("p99 of good calls %s, alone %s", during, alone)
		})
	}
}

// gone says whether a write failed because the connection was closed.
func gone(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

// p99 makes calls one after the other, none of which may fail, and answers how
// long the slowest in a hundred takes.
func (e *edge) p99(within time.Duration, md []string) time.Duration {
	e.t.Helper()
	var took []time.Duration
	for end := time.Now().Add(within); time.Now().Before(end); {
		began := time.Now()
		if _, err := e.call("/echo.Echo/Call", "{}", md...); err != nil {
			e.t.Errorf("a good call: %v", err)
			return 0
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

// TestHealthWatchers shows that the streams of grpc.health.v1 are bounded: they
// need no account and have no end.
func TestHealthWatchers(t *testing.T) {
	t.Parallel()
	p := edgetest.New(t)
	address := freeAddress(t)
	p.Run(t, map[string]string{"MICRO_PROXY_ADDRESS": address, "MICRO_PROXY_CONTAINER_ADDRESS": "none", "MICRO_PROXY_TRUSTED_PROXIES": "127.0.0.1"}, proxy.Component)
	open := 0
	for i := range 3 { // more than a connection may have
		client := healthpb.NewHealthClient(dial(t, address))
		for range 60 {
			ctx := metadata.AppendToOutgoingContext(t.Context(), "x-forwarded-for", "203.0.113.9")
			s, err := client.Watch(ctx, &healthpb.HealthCheckRequest{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Recv()
			switch status.Code(err) {
			case codes.OK:
				open++
			case codes.ResourceExhausted:
				if !strings.Contains(err.Error(), "your address has 100 calls") {
					t.Errorf("stream %d: %v", i, err)
				}
			default:
				t.Fatal(err)
			}
		}
	}
	if open != 100 {
		t.Errorf("an address has %d streams open, want 100", open)
	}
}

// TestLongHealth shows that what asks for health and is never whole, since its client
// does not end its side of the call, takes no memory.
func TestLongHealth(t *testing.T) {
	t.Parallel()
	e := start(t)
	for _, method := range []string{"Check", "Watch"} {
		s, err := e.conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/grpc.health.v1.Health/"+method)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.SendMsg(&healthpb.HealthCheckRequest{Service: strings.Repeat("x", 1<<20)}); err != nil {
			t.Fatal(err)
		}
		if err := s.RecvMsg(new(healthpb.HealthCheckResponse)); status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "at most 1024 are allowed") {
			t.Errorf("%s: %v", method, err)
		}
	}
}

// TestTrustedProxy shows whom the platform believes to be calling behind a proxy
// that the operator trusts, and that others are not believed.
func TestTrustedProxy(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	p := edgetest.New(t)
	p.Run(t, map[string]string{"MICRO_PROXY_ADDRESS": address, "MICRO_PROXY_CONTAINER_ADDRESS": "none", "MICRO_PROXY_TRUSTED_PROXIES": "127.0.0.1,10.0.0.0/8"}, proxy.Component)
	for _, tt := range []struct{ name, from, header, forwarded, want string }{
		{"header", "127.0.0.1", "", "198.51.100.7, 203.0.113.9, 10.0.0.1", "203.0.113.9"},
		{"PROXY protocol", "127.0.0.1", "203.0.113.9", "", "203.0.113.9"},
		{"PROXY protocol, the client sends the header", "127.0.0.1", "203.0.113.9", "198.51.100.7", "203.0.113.9"},
		{"PROXY protocol, then a proxy with the header", "127.0.0.1", "10.0.0.1", "203.0.113.9", "203.0.113.9"},
		{"an anonymous caller sends the header", "127.0.0.2", "", "203.0.113.9", "127.0.0.2"},
		{"nothing", "127.0.0.1", "", "", "127.0.0.1"},
	} {
		conn := dialFrom(t, tt.from, address, func(c net.Conn) error {
			if tt.header == "" {
				return nil
			}
			_, err := c.Write(proxyHeader(tt.header))
			return err
		})
		ctx := metadata.AppendToOutgoingContext(t.Context(), bearer(p.User(t, "acme"))...)
		if tt.forwarded != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "x-forwarded-for", tt.forwarded)
		}
		rsp, err := authpb.NewAuthClient(conn).Inspect(ctx, &authpb.InspectRequest{})
		if err != nil {
			t.Fatal(tt.name, err)
		}
		if got := rsp.GetAccount().GetMetadata()["micro-client-address"]; got != tt.want {
			t.Errorf("%s: the platform sees %s, want %s", tt.name, got, tt.want)
		}
	}
}

// dialFrom is dial from an address of this host, and begins connections with something.
func dialFrom(t *testing.T, from, address string, begin func(net.Conn) error) *grpc.ClientConn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	return dialWith(t, address, func(ctx context.Context, address string) (net.Conn, error) {
		c, err := d.DialContext(ctx, "tcp", address)
		if err == nil {
			err = begin(c)
		}
		return c, err
	})
}

// proxyHeader is what a proxy sends in front of a client's connection.
func proxyHeader(client string) []byte {
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x21, 0x11, 0, 12)
	a := netip.MustParseAddr(client).As4()
	b = append(append(b, a[:]...), 127, 0, 0, 1)
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, 4660), 80)
}

// TestSlowConnections shows that two thousand clients who connect and then say
// nothing, or trickle, are cut off soon, and that good calls do not notice (E12).
func TestSlowConnections(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.Register("acme", edgetest.NewService(t, "echo").Entry())
	user := bearer(e.User(t, "acme"))
	e.until(codes.OK, "/echo.Echo/Call", user...)
	alone := e.p99(time.Second, user)
	const clients = 2000
	left := make(chan error, clients)
	began := time.Now()
	for i := range clients {
		c, err := net.Dial("tcp", e.conn.CanonicalTarget()[len("passthrough:///"):])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, http2.ClientPreface[:i%len(http2.ClientPreface)]); err != nil {
			t.Fatal(err)
		}
		go func() {
			c.SetReadDeadline(time.Now().Add(3 * settle)) //nolint:errcheck // the read says so
			_, err := io.Copy(io.Discard, c)
			left <- err
		}()
	}
	t.Logf("p99 of good calls %s, alone %s", e.p99(time.Second, user), alone)
	for range clients {
		if err := <-left; err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Fatal(fmt.Errorf("a silent client: %w", err))
		}
	}
	t.Logf("all cut off after %s", time.Since(began))
}

// TestMessagesOnTheirWay shows that the memory of what clients begin to send has its
// bounds: who has most goes, and the large messages of another go on (E9).
func TestMessagesOnTheirWay(t *testing.T) {
	t.Parallel()
	p := edgetest.New(t)
	address := freeAddress(t)
	p.Run(t, map[string]string{"MICRO_PROXY_ADDRESS": address, "MICRO_PROXY_CONTAINER_ADDRESS": "none", "MICRO_PROXY_BUFFERED": "1048576"}, proxy.Component)
	e := &edge{p, t, dialFrom(t, "127.0.1.2", address, func(net.Conn) error { return nil })}
	p.Register("acme", edgetest.NewService(t, "echo").Entry())
	token := p.User(t, "acme")
	e.until(codes.OK, "/echo.Echo/Call", bearer(token)...)

	a, err := attack(address, token)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	a.SetWriteDeadline(time.Now().Add(settle)) //nolint:errcheck // the writes say so
	large := `"` + strings.Repeat("x", 100<<10) + `"`
	for stream := uint32(1); ; stream += 2 { // 128 KiB each of what never comes as a whole
		if err = a.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: a.headers, EndHeaders: true}); err == nil {
			err = a.WriteData(stream, false, append(binary.BigEndian.AppendUint32([]byte{0}, 1<<20), make([]byte, 16<<10-5)...))
		}
		for range 7 {
			if err == nil {
				err = a.WriteData(stream, false, make([]byte, 16<<10))
			}
		}
		if err != nil {
			break
		}
		if _, err := e.call("/echo.Echo/Call", large, bearer(token)...); err != nil {
			t.Fatalf("with %d KiB of another client on their way: %v", 128*(stream+1)/2, err)
		}
	}
	if !gone(err) { // or else it may have any number of bytes on their way
		t.Error(err)
	}
}

// TestCompressed shows that no message is taken compressed, with an account or
// without: what it takes would be known too late.
func TestCompressed(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.Register("acme", edgetest.NewService(t, "echo").Entry())
	user := bearer(e.User(t, "acme"))
	e.until(codes.OK, "/echo.Echo/Call", user...)
	ctx := metadata.AppendToOutgoingContext(t.Context(), user...)
	zeros := strings.Repeat("0", 1<<20)
	refused := func(what string, err error) {
		t.Helper()
		if status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "compressed messages are not taken") {
			t.Errorf("%s: %v", what, err)
		}
	}
	in, out := []byte(`"`+zeros+`"`), []byte(nil)
	refused("a service", e.conn.Invoke(ctx, "/echo.Echo/Call", &in, &out, edgetest.Codec(), grpc.UseCompressor(gzip.Name)))
	_, err := healthpb.NewHealthClient(e.conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: zeros}, grpc.UseCompressor(gzip.Name))
	refused("health", err)
	_, err = authpb.NewAuthClient(e.conn).Token(ctx, &authpb.TokenRequest{Id: zeros}, grpc.UseCompressor(gzip.Name))
	refused("the platform", err)
}
