package app

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/dns"
)

// names is a name server that knows one name.
type names struct {
	mu        sync.Mutex
	addresses []netip.Addr
}

func (n *names) set(all ...netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addresses = all
}

// serve answers questions until the connection is closed.
func (n *names) serve(conn net.PacketConn) {
	buf := make([]byte, 1<<10)
	for {
		size, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:size]) != nil || len(m.Questions) == 0 {
			continue
		}
		m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
		n.mu.Lock()
		for _, a := range n.addresses {
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}, Body: &dnsmessage.AResource{A: a.As4()}})
			}
		}
		n.mu.Unlock()
		if answer, err := m.Pack(); err == nil {
			conn.WriteTo(answer, from) //nolint:errcheck // the next question tells
		}
	}
}

// TestInstanceJoins shows that an instance gets calls which joins one that is
// well: no connection is lost then.
func TestInstanceJoins(t *testing.T) {
	dns.SetMinResolutionInterval(time.Millisecond) // for all: this test is alone
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	var n names
	go n.serve(conn) // ends with conn
	first, second := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")
	port := instanceAt(t, first, "0")
	instanceAt(t, second, port)
	n.set(first)
	cc, err := grpc.NewClient("dns://"+conn.LocalAddr().String()+"/auth.test.:"+port, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithResolvers(looking{resolver.Get("dns"), 10 * time.Millisecond}), grpc.WithDefaultServiceConfig(balanced))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	answers := func(want netip.Addr) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		for {
			var p peer.Peer
			if _, err := healthpb.NewHealthClient(cc).Check(ctx, &healthpb.HealthCheckRequest{}, grpc.Peer(&p), grpc.WaitForReady(true)); err != nil {
				t.Fatalf("%v never answers: %v", want, err)
			}
			if at, err := netip.ParseAddrPort(p.Addr.String()); err == nil && at.Addr() == want {
				return
			}
		}
	}
	answers(first)
	n.set(first, second)
	answers(second)
}

// instanceAt serves health on an address, and answers its port.
func instanceAt(t *testing.T, a netip.Addr, port string) string {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(a.String(), port))
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	healthpb.RegisterHealthServer(g, health.NewServer())
	go g.Serve(l) //nolint:errcheck // ends with the test
	t.Cleanup(g.Stop)
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port
}
