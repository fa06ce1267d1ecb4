package app

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// TestInstanceJoins shows that an instance gets calls which joins one that is
// well, when no connection is lost, and one whose name nobody knew at first.
func TestInstanceJoins(t *testing.T) {
	t.Parallel()
	var known atomic.Pointer[[]string] // what the name stands for; nothing at first
	look := func(context.Context, string) ([]string, error) {
		if all := known.Load(); all != nil {
			return *all, nil
		}
		return nil, errors.New("no such host")
	}
	first, second := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")
	port := instanceAt(t, first, "0")
	instanceAt(t, second, port)
	cc, err := grpc.NewClient("names:///auth:"+port, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithResolvers(names{look, 10 * time.Millisecond}), grpc.WithDefaultServiceConfig(balanced()))
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
	if _, err := healthpb.NewHealthClient(cc).Check(t.Context(), &healthpb.HealthCheckRequest{}); status.Code(err) != codes.Unavailable {
		t.Fatalf("a name that nobody knows: %v", err)
	}
	known.Store(&[]string{first.String()})
	answers(first)
	known.Store(&[]string{first.String(), second.String()})
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
