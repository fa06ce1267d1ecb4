// Package edge connects to the platform: one address for every core service
// and every other service.
package edge

import (
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/micro/platform/framework/internal/codec"
)

// MaxMessage is the largest message either way.
const MaxMessage = 16 << 20

// Dial makes a connection. Nothing is dialled before the first call. Port 443,
// also when no port is given, means TLS; any other port is plaintext.
func Dial(address string) (*grpc.ClientConn, error) {
	target, secure := Target(address)
	creds := insecure.NewCredentials()
	if secure {
		creds = credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12})
	}
	conn, err := grpc.NewClient(target,
		grpc.WithTransportCredentials(creds),
		// A connection that has died without a word is noticed while a stream is
		// open on it, such as the watch of the settings. An edge bears 10 s.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 15 * time.Second, Timeout: 5 * time.Second}),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`), // a name may stand for several edges
		// gRPC would look for its settings in the name service as well, before it
		// connects. In the network of a namespace nobody answers that for 10 s.
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(
			grpc.ForceCodecV2(codec.GRPC{}),
			grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage)),
	)
	if err != nil {
		return nil, fmt.Errorf("platform address %q: %w", address, err)
	}
	return conn, nil
}

// Target completes an address with its port and says whether it wants TLS.
func Target(address string) (target string, secure bool) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return net.JoinHostPort(address, "443"), true
	}
	return address, port == "443"
}
