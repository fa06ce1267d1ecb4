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
		want  Answer
	}{
		{"serving", serve(grpc_health_v1.HealthCheckResponse_SERVING), Ready},
		{"not serving", serve(grpc_health_v1.HealthCheckResponse_NOT_SERVING), NotServing},
		{"unknown", serve(grpc_health_v1.HealthCheckResponse_UNKNOWN), NotServing},
		{"gRPC without health", func(t *testing.T, l net.Listener) { run(t, grpc.NewServer(), l) }, Ready},
		{"an error of its own", func(t *testing.T, l net.Listener) {
			run(t, grpc.NewServer(grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error {
				return status.Error(codes.Internal, `{"id":"go.micro.server"}`)
			})), l)
		}, Ready},
		{"HTTP/1", func(t *testing.T, l net.Listener) {
			s := &http.Server{Handler: http.NotFoundHandler()} //nolint:gosec // a test
			go s.Serve(l)                                      //nolint:errcheck // closed below
			t.Cleanup(func() { s.Close() })
		}, Ready},
		{"accepts and says nothing", func(*testing.T, net.Listener) {}, Stuck},
		{"nobody", func(_ *testing.T, l net.Listener) { l.Close() }, Silent},
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
