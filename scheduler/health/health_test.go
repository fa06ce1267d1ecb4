package health

import (
	"context"
	"net"
	"net/http"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	hostpb "github.com/micro/platform/proto/host"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	serve := func(is grpc_health_v1.HealthCheckResponse_ServingStatus) func(*testing.T, net.Listener) {
		return func(t *testing.T, l net.Listener) {
			h := health.NewServer()
			h.SetServingStatus("", is)
			s := grpc.NewServer()
			grpc_health_v1.RegisterHealthServer(s, h)
			run(t, s, l)
		}
	}
	for _, tt := range []struct {
		name  string
		serve func(*testing.T, net.Listener)
		want  hostpb.Health
	}{
		{"serving", serve(grpc_health_v1.HealthCheckResponse_SERVING), hostpb.Health_READY},
		{"not serving", serve(grpc_health_v1.HealthCheckResponse_NOT_SERVING), hostpb.Health_NOT_SERVING},
		{"unknown", serve(grpc_health_v1.HealthCheckResponse_UNKNOWN), hostpb.Health_NOT_SERVING},
		{"gRPC without health", func(t *testing.T, l net.Listener) { run(t, grpc.NewServer(), l) }, hostpb.Health_READY},
		{"an error of its own", func(t *testing.T, l net.Listener) {
			run(t, grpc.NewServer(grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error {
				return status.Error(codes.Internal, `{"id":"go.micro.server"}`)
			})), l)
		}, hostpb.Health_READY},
		{"HTTP/1", func(t *testing.T, l net.Listener) {
			s := &http.Server{Handler: http.NotFoundHandler()} //nolint:gosec // a test
			go s.Serve(l)                                      //nolint:errcheck // closed below
			t.Cleanup(func() { s.Close() })
		}, hostpb.Health_READY},
		{"accepts and says nothing", func(*testing.T, net.Listener) {}, hostpb.Health_STUCK},
		{"nobody", func(_ *testing.T, l net.Listener) { l.Close() }, hostpb.Health_SILENT},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			tt.serve(t, l)
			dial := func(ctx context.Context) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "tcp", l.Addr().String())
			}
			if got := Check(t.Context(), dial); got != tt.want {
				t.Errorf("Check = %v, want %v", got, tt.want)
			}
		})
	}
}

func run(t *testing.T, s *grpc.Server, l net.Listener) {
	go s.Serve(l) //nolint:errcheck // stopped below
	t.Cleanup(s.Stop)
}
