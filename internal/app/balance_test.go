package app

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"

	registrypb "github.com/micro/platform/proto/registry"
)

// stuck is a registry that says when it has a call in hand, and answers none.
type stuck struct {
	registrypb.UnimplementedRegistryServer
	has chan struct{}
}

func (s stuck) hold(ctx context.Context) error {
	s.has <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
}

func (s stuck) ListServices(ctx context.Context, _ *registrypb.ListRequest) (*registrypb.ListResponse, error) {
	return nil, s.hold(ctx)
}

func (s stuck) Register(ctx context.Context, _ *registrypb.Service) (*registrypb.EmptyResponse, error) {
	return nil, s.hold(ctx)
}

// prompt is a registry that answers.
type prompt struct {
	registrypb.UnimplementedRegistryServer
}

func (prompt) ListServices(context.Context, *registrypb.ListRequest) (*registrypb.ListResponse, error) {
	return &registrypb.ListResponse{}, nil
}

func (prompt) Register(context.Context, *registrypb.Service) (*registrypb.EmptyResponse, error) {
	return &registrypb.EmptyResponse{}, nil
}

// TestInstanceBreaksOff ends an instance that has calls in hand. Those that only
// read are answered by another one, those that write fail.
func TestInstanceBreaksOff(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		call func(context.Context, registrypb.RegistryClient) error
		want codes.Code
	}{
		{"a read", func(ctx context.Context, c registrypb.RegistryClient) error {
			_, err := c.ListServices(ctx, &registrypb.ListRequest{})
			return err
		}, codes.OK},
		{"a write", func(ctx context.Context, c registrypb.RegistryClient) error {
			_, err := c.Register(ctx, &registrypb.Service{})
			return err
		}, codes.Unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			ends := stuck{has: make(chan struct{}, 1)}
			first, at := registryAt(t, ends)
			instances := manual.NewBuilderWithScheme("instances")
			instances.InitialState(resolver.State{Endpoints: []resolver.Endpoint{{Addresses: []resolver.Address{{Addr: at}}}}})
			conn, err := grpc.NewClient("instances:///registry", grpc.WithTransportCredentials(insecure.NewCredentials()),
				grpc.WithResolvers(instances), grpc.WithDefaultServiceConfig(balanced()))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			answer := make(chan error, 1)
			go func() { answer <- tt.call(ctx, registrypb.NewRegistryClient(conn)) }()
			<-ends.has
			_, other := registryAt(t, prompt{})
			instances.UpdateState(resolver.State{Endpoints: []resolver.Endpoint{{Addresses: []resolver.Address{{Addr: at}}}, {Addresses: []resolver.Address{{Addr: other}}}}})
			first.Stop()
			if err := <-answer; status.Code(err) != tt.want {
				t.Errorf("the call = %v, want %v", err, tt.want)
			}
		})
	}
}

// registryAt serves a registry.
func registryAt(t *testing.T, r registrypb.RegistryServer) (s *grpc.Server, address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s = grpc.NewServer()
	registrypb.RegisterRegistryServer(s, r)
	healthpb.RegisterHealthServer(s, health.NewServer())
	go s.Serve(l) //nolint:errcheck // ends by Stop
	t.Cleanup(s.Stop)
	return s, l.Addr().String()
}
