package app

import (
	"context"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc/resolver"

	"github.com/micro/platform/internal/pause"
)

// How often a name that stands for the instances of a component is looked up, and
// how soon again when that failed.
const (
	lookEvery = 2 * time.Second
	lookAgain = 300 * time.Millisecond
)

// lookTimeout bounds one look: a name server that does not answer is asked anew.
const lookTimeout = 3 * time.Second

// names resolves names that stand for the instances of components. It looks again
// and again: gRPC's own looks when a connection is lost, so that an instance that
// joins the others would get no calls, and after failures up to two minutes later.
type names struct {
	look  func(ctx context.Context, host string) ([]string, error)
	every time.Duration
}

// Scheme implements resolver.Builder.
func (names) Scheme() string { return "names" }

// Build implements resolver.Builder.
func (n names) Build(target resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	host, port, err := net.SplitHostPort(target.Endpoint())
	if err != nil {
		return nil, fmt.Errorf("the address of a component: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	l := &looker{names: n, host: host, port: port, cc: cc, now: make(chan struct{}, 1), stop: stop}
	go l.run(ctx) // ends with Close
	return l, nil
}

// looker looks up one name.
type looker struct {
	names
	host, port string
	cc         resolver.ClientConn
	now        chan struct{} // holds one when somebody cannot wait
	stop       context.CancelFunc
}

func (l *looker) run(ctx context.Context) {
	for {
		wait := l.every
		if err := l.once(ctx); err != nil && ctx.Err() == nil {
			l.cc.ReportError(err) // what was found before stays
			wait = min(wait, lookAgain)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		case <-l.now:
			if pause.For(ctx, min(wait, lookAgain)) != nil {
				return
			}
		}
	}
}

func (l *looker) once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	found, err := l.look(ctx, l.host)
	if err != nil {
		return err
	}
	var state resolver.State
	for _, a := range found {
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: net.JoinHostPort(a, l.port)}}})
	}
	return l.cc.UpdateState(state)
}

// ResolveNow implements resolver.Resolver.
func (l *looker) ResolveNow(resolver.ResolveNowOptions) {
	select {
	case l.now <- struct{}{}:
	default:
	}
}

// Close implements resolver.Resolver.
func (l *looker) Close() { l.stop() }
