package proxy

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/micro/platform/internal/rpc"
)

// dialTimeout bounds one attempt to connect to a node.
const dialTimeout = time.Second

// node is an instance of a service, and the connection to it.
type node struct {
	id, address string

	suspect atomic.Bool  // it broke off, and is not known to be connected since
	load    atomic.Int64 // calls in flight

	mu      sync.Mutex
	conn    *grpc.ClientConn
	retired bool // closes when its last call has ended
}

// acquire answers the connection, for one call.
func (n *node) acquire() (*grpc.ClientConn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conn == nil {
		c, err := dial(n.address)
		if err != nil {
			return nil, err
		}
		n.conn = c
	}
	n.load.Add(1)
	return n.conn, nil
}

func (n *node) release() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.load.Add(-1) == 0 && n.retired {
		n.disconnect()
	}
}

// retire closes the connection as soon as no call is left on it.
func (n *node) retire() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.retired = true
	if n.load.Load() == 0 {
		n.disconnect()
	}
}

// replaced says whether the node was taken out of the routes.
func (n *node) replaced() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.retired
}

// disconnect wants mu held.
func (n *node) disconnect() {
	if n.conn != nil {
		n.conn.Close()
		n.conn = nil
	}
}

// eject has others preferred to a node that did not answer, until it is connected
// again, which is tried at once and then up to every second.
func (n *node) eject() {
	n.suspect.Store(true)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conn != nil {
		n.conn.Connect()
	}
}

func (n *node) healthy() bool {
	if !n.suspect.Load() {
		return true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conn == nil || n.conn.GetState() != connectivity.Ready {
		return false
	}
	n.suspect.Store(false)
	return true
}

func (n *node) lighter(other *node) bool { return n.load.Load() < other.load.Load() }

// alive finds nodes whose host is gone within 2 s, also behind calls that wait for
// their answer: nobody is sent to such a node then. Pings of HTTP/2 would, too, but
// servers of gRPC close connections that ping more often than every 5 minutes.
var alive = rpc.Dialer(time.Second)

// dial connects at the first call, in plain HTTP/2, as services serve it.
func dial(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return alive.DialContext(ctx, "tcp", address)
		}),
		grpc.WithDisableServiceConfig(),
		grpc.WithStatsHandler(otelgrpc.NewClientHandler()),
		grpc.WithStatsHandler(progressHandler{}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(rpc.MaxMessage), grpc.MaxCallSendMsgSize(rpc.MaxMessage)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: dialTimeout,
		}),
	)
}
