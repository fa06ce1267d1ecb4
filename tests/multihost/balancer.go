package multihost

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/micro/platform/internal/cli/remote"
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

	out atomic.Bool
}

// A host's edges are asked this often, each time for that long at most. They are
// out after the second question without an answer, and in again after the first
// with one, as with any load balancer.
const (
	askEvery  = 250 * time.Millisecond
	askWithin = 400 * time.Millisecond
	askTwice  = 2
)

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
		conn, err := remote.Dial(n.Address + ":8081")
		if err != nil {
			return nil, errors.Join(err, b.Close())
		}
		b.edges = append(b.edges, &Edge{Name: n.Name, API: n.Address + ":8080", GRPC: conn,
			HTTP:  &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}},
			Fresh: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}})
	}
	for _, e := range b.edges {
		b.work.Go(func() { e.watch(ctx) })
	}
	return b, nil
}

// Next answers the edge whose turn it is.
func (b *Balancer) Next() *Edge {
	for range b.edges {
		if e := b.edges[b.turn.Add(1)%uint64(len(b.edges))]; !e.out.Load() {
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
		e.HTTP.CloseIdleConnections()
		errs = append(errs, e.GRPC.Close())
	}
	return errors.Join(errs...)
}

func (e *Edge) watch(ctx context.Context) {
	silent := 0
	for due := time.Now(); until(ctx, due); due = due.Add(askEvery) {
		if e.ask(ctx) == nil {
			silent = 0
		} else {
			silent++
		}
		e.out.Store(silent >= askTwice)
	}
}

// ask opens a connection of its own: one that is kept may outlive its edge.
func (e *Edge) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+e.API+"/", nil)
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
