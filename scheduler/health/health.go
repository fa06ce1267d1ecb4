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
)

// Answer is what a check found out.
type Answer int

// The answers there are.
const (
	Silent     Answer = iota // nobody listens
	Stuck                    // somebody listens and says nothing
	NotServing               // its health is not SERVING
	Ready                    // its health is SERVING, or it has none to ask for
)

const (
	// dialTimeout bounds a connection on this host or the next.
	dialTimeout = 300 * time.Millisecond
	// Timeout bounds a check as a whole: a program that starts has little time
	// of its processor to spare.
	Timeout = 2 * time.Second
	// maxAnswer bounds what is read of an answer and of its headers, in bytes.
	maxAnswer = 4 << 10
)

// Check asks whoever listens on address, ip:port.
func Check(ctx context.Context, address string) Answer {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return Silent
	}
	conn.Close()
	client, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(), grpc.WithDisableServiceConfig(),
		grpc.WithMaxHeaderListSize(maxAnswer), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)))
	if err != nil { // an address that is none
		return Silent
	}
	defer client.Close()
	rsp, err := grpc_health_v1.NewHealthClient(client).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	return answer(ctx, rsp.GetStatus(), err)
}

// answer judges what a check came back with. An error is that of a program that
// has no health, whatever the error is: those on older frameworks have codes and
// texts of their own, and others do not speak gRPC. Only silence is none.
func answer(ctx context.Context, is grpc_health_v1.HealthCheckResponse_ServingStatus, err error) Answer {
	switch {
	case ctx.Err() != nil || status.Code(err) == codes.DeadlineExceeded:
		return Stuck
	case err != nil || is == grpc_health_v1.HealthCheckResponse_SERVING || is == grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN:
		return Ready
	}
	return NotServing
}
