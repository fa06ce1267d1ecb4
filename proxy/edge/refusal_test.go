package edge

import (
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/micro/platform/framework/errors"
)

// TestExplainUnavailable shows what a caller hears of gRPC's own errors, which
// have addresses and words of balancers in them, and of a callee's.
func TestExplainUnavailable(t *testing.T) {
	t.Parallel()
	const (
		ended       = "service echo: its instance ended during the call"
		unreachable = "service echo: no instance is reachable"
	)
	for _, tt := range []struct {
		name     string
		platform bool
		err      error
		want     string
	}{
		{"nobody listens", true, status.Error(codes.Unavailable, `connection error: desc = "transport: Error while dialing: dial tcp 10.0.0.7:8010: connect: connection refused"`), unreachable},
		{"all drain", true, status.Error(codes.Unavailable, "pickfirst: health check failure: connection active but health check failed. status=NOT_SERVING"), unreachable},
		{"a component breaks off", true, status.Error(codes.Unavailable, "error reading from server: read tcp 10.0.0.7:8010: connection reset by peer"), ended},
		{"a service breaks off", false, status.Error(codes.Unavailable, "error reading from server: EOF"), ended},
		{"a component's own", true, errors.New(codes.Unavailable, "Postgres is away").From("echo.Echo.Call"), "Postgres is away"},
		{"a service's own", false, status.Error(codes.Unavailable, "closed on Sundays"), "closed on Sundays"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := &Call{Service: "echo"}
			if tt.platform {
				c.target.component = &grpc.ClientConn{}
			}
			if got := errors.FromError(c.explain(tt.err)); got.Detail != tt.want || errors.Code(got) != codes.Unavailable {
				t.Errorf("explain = %v %q, want %q", errors.Code(got), got.Detail, tt.want)
			}
		})
	}
}
