package edge

import (
	"context"
	"net"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
)

// TestDialByName connects by a name while the name server answers for addresses
// alone, as Docker's does in a network that leads nowhere else. It changes how this
// process looks names up, so it is not parallel.
func TestDialByName(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	go s.Serve(l) //nolint:errcheck // stopped below
	defer s.Stop()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go answerAddresses(server)
	usual := net.DefaultResolver
	defer func() { net.DefaultResolver = usual }()
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	conn, err := Dial("micro-edge.test.:" + port)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second) // of a name server's 5 s
	defer cancel()
	conn.Connect()
	for state := conn.GetState(); state != connectivity.Ready; state = conn.GetState() {
		if !conn.WaitForStateChange(ctx, state) {
			t.Fatalf("it is %s after 3 s: it waits for a name server that knows addresses only", state)
		}
	}
}

// answerAddresses is a name server that answers each question for an address of
// IPv4 with 127.0.0.1, for one of IPv6 with none, and no other, until c is closed.
func answerAddresses(c net.PacketConn) {
	b := make([]byte, 1500)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(b[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		m.Response, m.Additionals = true, nil
		switch q := m.Questions[0]; q.Type {
		case dnsmessage.TypeA:
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
				Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
			}}
		case dnsmessage.TypeAAAA:
		default:
			continue
		}
		if answer, err := m.Pack(); err == nil {
			c.WriteTo(answer, from) //nolint:errcheck // it asks again
		}
	}
}
