package rpc

import (
	"context"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"

	"github.com/micro/platform/internal/porttest"
)

// instance is one of a component's.
type instance struct {
	*grpc.Server
	health *health.Server
}

func startInstance(t *testing.T, address string) instance {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	i := instance{grpc.NewServer(), health.NewServer()}
	healthpb.RegisterHealthServer(i.Server, i.health)
	go i.Serve(l) //nolint:errcheck // ends by Stop
	t.Cleanup(i.Stop)
	return i
}

func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := porttest.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// TestInstancesChangePlaces ends the one instance of a component while the other
// is not back yet. Calls wait for that one, and none fails.
func TestInstancesChangePlaces(t *testing.T) {
	t.Parallel()
	var at [2]string
	instances := manual.NewBuilderWithScheme("instances")
	var state resolver.State
	for i := range at {
		at[i] = freeAddress(t)
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: at[i]}}})
	}
	instances.InitialState(state)
	first := startInstance(t, at[0])
	conn, err := NewClient("instances:///both", noToken, grpc.WithResolvers(instances),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1, MaxDelay: 200 * time.Millisecond}, MinConnectTimeout: 5 * time.Second}),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}`))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	client := healthpb.NewHealthClient(conn)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := client.Check(ctx, &healthpb.HealthCheckRequest{}); err != nil {
		t.Fatal(err)
	}

	first.health.Shutdown()
	for state := conn.GetState(); state == connectivity.Ready; state = conn.GetState() {
		if !conn.WaitForStateChange(ctx, state) {
			t.Fatal("the connection does not notice that the instance ends")
		}
	}
	errs := make(chan error, 2)
	go func() {
		_, err := client.Check(ctx, &healthpb.HealthCheckRequest{})
		errs <- err
	}()
	go func() {
		s, err := client.Watch(ctx, &healthpb.HealthCheckRequest{})
		if err == nil {
			_, err = s.Recv()
		}
		errs <- err
	}()
	first.GracefulStop()
	select {
	case err := <-errs:
		t.Fatalf("a call failed before the other instance was there: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	startInstance(t, at[1])
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Errorf("a call between two instances: %v", err)
		}
	}
}

// TestNobodyThere makes calls of a component that was not there for long. They
// fail at once.
func TestNobodyThere(t *testing.T) {
	t.Parallel()
	conn, err := NewClient(freeAddress(t), noToken)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	client := healthpb.NewHealthClient(conn)
	for range 3 {
		if _, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{}); status.Code(err) != codes.Unavailable {
			t.Errorf("Check = %v, want Unavailable", err)
		}
	}
}

// mute is a connection to a host that is gone, as the kernel tells of it.
type mute struct{ net.Conn }

func (mute) Read([]byte) (int, error) {
	return 0, &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ETIMEDOUT)}
}

// TestHostIsSilent makes a call after a connection broke off because its host does
// not answer. It does not wait, as it does for an instance that starts again.
func TestHostIsSilent(t *testing.T) {
	t.Parallel()
	cc, err := grpc.NewClient(freeAddress(t), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	p := &patience{}
	p.seen.Store(time.Now().Add(time.Hour).UnixNano()) // it would wait for long
	if _, err := (noticed{mute{}, p}).Read(nil); err == nil {
		t.Fatal("the connection works")
	}
	calls := 0
	err = p.try(t.Context(), cc, func() (bool, error) {
		calls++
		return false, nil
	})
	if status.Code(err) != codes.Unavailable || calls != 0 {
		t.Errorf("try = %v after %d calls, want Unavailable after none", err, calls)
	}
}
