package health

import (
	"context"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	hostpb "github.com/micro/platform/proto/host"
)

const (
	// DialTimeout bounds a connection on this host or the next.
	DialTimeout = 300 * time.Millisecond
	// Timeout bounds a check as a whole: a program that starts has little time
	// of its processor to spare.
	Timeout = 2 * time.Second
	// maxAnswer bounds what is read of an answer and of its headers, in bytes.
	maxAnswer = 4 << 10
)

// Dial connects to the program that is asked.
type Dial func(context.Context) (net.Conn, error)

// Check asks the program that dial connects to.
func Check(ctx context.Context, dial Dial) hostpb.Health {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	conn, err := func() (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, DialTimeout)
		defer cancel()
		return dial(ctx)
	}()
	if err != nil {
		return hostpb.Health_SILENT
	}
	defer conn.Close()
	client, err := grpc.NewClient("passthrough:///container",
		grpc.WithContextDialer(once(conn)), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableServiceConfig(),
		grpc.WithMaxHeaderListSize(maxAnswer), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)))
	if err != nil {
		return hostpb.Health_SILENT
	}
	defer client.Close()
	rsp, err := grpc_health_v1.NewHealthClient(client).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	return answer(ctx, rsp.GetStatus(), err)
}

// once hands out a connection that is there, and no other.
func once(conn net.Conn) func(context.Context, string) (net.Conn, error) {
	conns := make(chan net.Conn, 1)
	conns <- conn
	return func(context.Context, string) (net.Conn, error) {
		select {
		case c := <-conns:
			return c, nil
		default:
			return nil, net.ErrClosed
		}
	}
}

// answer judges what a check came back with. An error is that of a program that
// has no health, whatever the error is: those on older frameworks have codes and
// texts of their own, and others do not speak gRPC. Only silence is none.
func answer(ctx context.Context, is grpc_health_v1.HealthCheckResponse_ServingStatus, err error) hostpb.Health {
	switch {
	case ctx.Err() != nil || status.Code(err) == codes.DeadlineExceeded:
		return hostpb.Health_STUCK
	case err != nil || is == grpc_health_v1.HealthCheckResponse_SERVING || is == grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN:
		return hostpb.Health_READY
	}
	return hostpb.Health_NOT_SERVING
}
