package multihost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/micro/platform/internal/cli/remote"
	"github.com/micro/platform/internal/rpc"
	"github.com/micro/platform/tests/platform"
)

// Edge is the two edges of a host, and kept connections to them.
type Edge struct {
	// Name is the host's.
	Name string
	// API is where HTTP goes, host:port.
	API string
	// GRPC is a connection to the proxy.
	GRPC *grpc.ClientConn
	// HTTP keeps connections to the gateway, Fresh makes one for each call.
	HTTP, Fresh *http.Client

	outHTTP, outGRPC atomic.Bool
}

// An edge is asked for its health this often, each time for that long at most. It
// is out after the second question without a good answer, and in again after the
// first with one, as with any load balancer.
const (
	askEvery  = 250 * time.Millisecond
	askWithin = 400 * time.Millisecond
	askTwice  = 2
)

// dialer makes connections.
type dialer func(ctx context.Context, address string) (net.Conn, error)

// newEdge is the edges of a host as who dials so reaches them. A load balancer
// dials as the platform does, and gives up connections to a host that is gone: one
// that is kept would be silent for as long again when the host is back.
func newEdge(n *Node, dial dialer) (*Edge, error) {
	conn, err := remote.Dial(n.Address+":8081", grpc.WithContextDialer(dial), grpc.WithConnectParams(connect), grpc.WithIdleTimeout(0))
	if err != nil {
		return nil, err
	}
	over := func(ctx context.Context, _, address string) (net.Conn, error) { return dial(ctx, address) }
	return &Edge{Name: n.Name, API: n.Address + ":8080", GRPC: conn,
		HTTP:  &http.Client{Transport: &http.Transport{DialContext: over, MaxIdleConnsPerHost: 100}},
		Fresh: &http.Client{Transport: &http.Transport{DialContext: over, DisableKeepAlives: true}}}, nil
}

// Close ends the connections.
func (e *Edge) Close() error {
	e.HTTP.CloseIdleConnections()
	return e.GRPC.Close()
}

// connect tries again soon: an edge that Docker starts again is back in a second.
var connect = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: 200 * time.Millisecond},
	MinConnectTimeout: time.Second,
}

// Balancer stands in front of the edges, as a load balancer of the operator's
// does, and gives calls to those that answer in turn.
type Balancer struct {
	edges []*Edge
	turn  atomic.Uint64
	end   context.CancelFunc
	work  sync.WaitGroup
}

// NewBalancer asks the edges of these hosts until Close.
func NewBalancer(nodes []*Node) (*Balancer, error) {
	ctx, end := context.WithCancel(context.Background())
	b := &Balancer{end: end}
	for _, n := range nodes {
		e, err := newEdge(n, rpc.Dial)
		if err != nil {
			return nil, errors.Join(err, b.Close())
		}
		b.edges = append(b.edges, e)
	}
	for _, e := range b.edges {
		b.work.Go(func() { watch(ctx, e.askHTTP, &e.outHTTP) })
		b.work.Go(func() { watch(ctx, e.askGRPC, &e.outGRPC) })
	}
	return b, nil
}

// Next answers the edge whose turn it is. Calls of gRPC only go to one that is
// connected.
func (b *Balancer) Next(overGRPC bool) *Edge {
	for range b.edges {
		e := b.edges[b.turn.Add(1)%uint64(len(b.edges))]
		if !overGRPC && !e.outHTTP.Load() || overGRPC && !e.outGRPC.Load() && e.GRPC.GetState() == connectivity.Ready {
			return e
		}
	}
	return b.edges[0] // none answers: the call says so
}

// Close ends the connections.
func (b *Balancer) Close() error {
	b.end()
	b.work.Wait()
	var errs []error
	for _, e := range b.edges {
		errs = append(errs, e.Close())
	}
	return errors.Join(errs...)
}

// watch takes an edge out while it does not answer.
func watch(ctx context.Context, ask func(context.Context) error, out *atomic.Bool) {
	silent := 0
	for due := time.Now(); platform.Until(ctx, due); due = due.Add(askEvery) {
		asked, cancel := context.WithTimeout(ctx, askWithin)
		if ask(asked) == nil {
			silent = 0
		} else {
			silent++
		}
		cancel()
		out.Store(silent >= askTwice)
	}
}

// askGRPC asks the proxy, which has the connection back that was lost.
func (e *Edge) askGRPC(ctx context.Context) error {
	e.GRPC.Connect() // it may have become idle
	rsp, err := healthpb.NewHealthClient(e.GRPC).Check(ctx, &healthpb.HealthCheckRequest{})
	if err == nil && rsp.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		err = fmt.Errorf("%s is %v", e.Name, rsp.GetStatus())
	}
	return err
}

// askHTTP asks the gateway on a connection of its own: one that is kept may
// outlive its edge.
func (e *Edge) askHTTP(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+e.API+"/platform/v1/health", nil)
	if err != nil {
		return err
	}
	rsp, err := e.Fresh.Do(req)
	if err != nil {
		return err
	}
	defer rsp.Body.Close()
	if rsp.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("%s answers %s", e.Name, rsp.Status)
	}
	return nil
}
