package remote

import (
	"crypto/tls"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// maxMessage is what a server sends at most.
const maxMessage = 16 << 20

// connectTimeout is how long an address that does not answer is waited for.
const connectTimeout = 5 * time.Second

// Dial makes a connection; nothing is sent before the first call. A host
// without a port, or with port 443, is spoken to over TLS, any other port in
// plain text: so do all Micro clients.
func Dial(address string, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	if !strings.Contains(address, ":") {
		address += ":443"
	}
	creds := insecure.NewCredentials()
	if _, port, _ := net.SplitHostPort(address); port == "443" {
		creds = credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12})
	}
	return grpc.NewClient(address, append([]grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: connectTimeout}),
		grpc.WithDisableServiceConfig(), // nobody puts gRPC's settings into the name service: it is not asked for them
	}, opts...)...)
}
