package edge

import (
	"context"
	"net"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/micro/platform/internal/rpc"
)

// dialTimeout bounds one attempt to connect to a node.
const dialTimeout = time.Second

// alive finds nodes whose host is gone within 2 s, also behind calls that wait for
// their answer: nobody is sent to such a node then. Pings of HTTP/2 would, too, but
// servers of gRPC close connections that ping more often than every 5 minutes.
var alive = rpc.Dialer(time.Second)

// link is a connection to a node, and what the kernel knows of the way there: how
// long calls take says more about what they are asked to do.
type link struct {
	conn *grpc.ClientConn
	tcp  atomic.Pointer[net.TCPConn] // that conn has now

	// The node's mu guards these.
	calls int      // in flight
	over  bool     // closes when its last call has ended
	since counters // how it stood at the beginning of the lossWindow
}

// counters are of a TCP connection, at a time.
type counters struct {
	of             *net.TCPConn
	at             time.Time
	sent, repeated uint32 // segments
}

const (
	// lossWindow is the time in which lossLeast segments that had to be sent again,
	// if they are one in lossShare, say that the way to a node is bad: each costs a
	// call 200 ms, the least time after which Linux sends one again.
	lossWindow = 10 * time.Second
	lossLeast  = 3
	lossShare  = 20
)

// newLink connects at the first call, in plain HTTP/2, as services serve it.
func newLink(address string) (*link, error) {
	l := &link{}
	var err error
	l.conn, err = grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(l.dial),
		grpc.WithDisableServiceConfig(),
		grpc.WithStatsHandler(otelgrpc.NewClientHandler()),
		grpc.WithStatsHandler(progressHandler{}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(rpc.MaxMessage), grpc.MaxCallSendMsgSize(rpc.MaxMessage)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: dialTimeout,
		}),
	)
	return l, err
}

func (l *link) dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := alive.DialContext(ctx, "tcp", address)
	if tcp, ok := conn.(*net.TCPConn); ok {
		l.tcp.Store(tcp)
	}
	return conn, err
}

// way is how a node is reached.
type way struct {
	roundTrip time.Duration // smoothed, as RFC 6298 has it; 0 is not known
	lossy     bool
	silent    bool // what was sent, or a probe, is overdue
}

// look asks the kernel about the way. There is nothing to know without a connection.
func (l *link) look(now time.Time) (w way) {
	tcp := l.tcp.Load()
	if tcp == nil {
		return w
	}
	info, err := rpc.TCPInfo(tcp)
	if err != nil {
		return w // it was closed meanwhile
	}
	is := counters{tcp, now, info.Data_segs_out, info.Total_retrans}
	w = way{time.Duration(info.Rtt) * time.Microsecond, is.lossySince(l.since), info.Probes > 0 || info.Retransmits > 0}
	if tcp != l.since.of || now.Sub(l.since.at) >= lossWindow {
		l.since = is
	}
	return w
}

// lossySince says whether too much of what was sent since then was lost.
func (c counters) lossySince(then counters) bool {
	if then.of != c.of { // another connection: its counters began at 0
		then = counters{}
	}
	sent, repeated := c.sent-then.sent, c.repeated-then.repeated
	return repeated >= lossLeast && repeated*lossShare >= sent
}
