package app

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/micro/platform/internal/porttest"
	authpb "github.com/micro/platform/proto/auth"
)

// noKeys is an auth that has none.
type noKeys struct{ authpb.UnimplementedKeysServer }

func (noKeys) List(context.Context, *authpb.ListKeysRequest) (*authpb.ListKeysResponse, error) {
	return &authpb.ListKeysResponse{}, nil
}

// TestCallsWaitForKeys shows that a component wants no calls before it has heard
// from auth.
func TestCallsWaitForKeys(t *testing.T) {
	t.Parallel()
	var at [2]string
	for i := range at {
		port, err := porttest.Reserve()
		if err != nil {
			t.Fatal(err)
		}
		at[i] = fmt.Sprintf("127.0.0.1:%d", port)
	}
	start(t, Config{Components: []Component{serving("registry")}, Apart: true, Log: slog.New(slog.DiscardHandler),
		Environ:  map[string]string{"MICRO_AUTH_ADDRESS": at[0], "MICRO_REGISTRY_ADDRESS": at[1]},
		Platform: Platform{ClusterSecret: "a cluster secret that only tests use"}})
	conn, err := grpc.NewClient(at[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	says := func() healthpb.HealthCheckResponse_ServingStatus {
		t.Helper()
		rsp, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return rsp.GetStatus()
	}
	if got := says(); got != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("without auth it is %v", got)
	}
	l, err := net.Listen("tcp", at[0])
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	authpb.RegisterKeysServer(s, noKeys{})
	go s.Serve(l) //nolint:errcheck // stopped below
	t.Cleanup(s.Stop)
	for end := time.Now().Add(20 * time.Second); says() != healthpb.HealthCheckResponse_SERVING; <-time.After(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it wants no calls although auth is there")
		}
	}
}
