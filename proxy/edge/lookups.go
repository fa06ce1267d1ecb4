package edge

import (
	"context"
	"net/netip"
	"time"

	"golang.org/x/sync/singleflight"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/abuse"
	"github.com/micro/platform/internal/identity"
	registrypb "github.com/micro/platform/proto/registry"
)

const (
	// asking bounds the question to the registry about a service that no push
	// has told of, the wait for its turn included.
	asking = 2 * time.Second
	// maxLookups bounds the questions under way.
	maxLookups = 64
	// absentEach and absentBurst are how many names that do not exist an address
	// without an account may make the registry look for in a second, and at once;
	// its network may five times that.
	absentEach  = 5
	absentBurst = 50
)

// lookups bounds the questions to the registry. Pushes tell of every service, so
// a question is only for one that has come up a moment ago.
type lookups struct {
	shared           singleflight.Group
	busy             chan struct{}
	address, network *rates // names that do not exist, by who asked
}

func newLookups() *lookups {
	return &lookups{busy: make(chan struct{}, maxLookups), address: newRates(absentEach, absentBurst), network: newRates(neighbours*absentEach, neighbours*absentBurst)}
}

// ask asks the registry about a service, once for all that ask at a time. Nil is
// a service that does not exist, and what callers without an account hear who ask too much.
func (e *Edge) ask(ctx context.Context, n name, c *Call) (*service, error) {
	found := func() {}
	if ip, err := netip.ParseAddr(c.from); c.Caller == nil && err == nil {
		address, network := abuse.Address(ip), abuse.Network(ip)
		if !e.lookups.address.take(address) || !e.lookups.network.take(network) {
			return nil, nil
		}
		found = func() { e.lookups.address.giveBack(address); e.lookups.network.giveBack(network) }
	}
	answers := e.lookups.shared.DoChan(n.namespace+"\x00"+n.service, func() (any, error) { return e.question(context.WithoutCancel(ctx), n) })
	select {
	case a := <-answers:
		s, _ := a.Val.(*service)
		if s != nil || a.Err != nil {
			found()
		}
		return s, a.Err
	case <-ctx.Done():
		return nil, errors.New(codes.DeadlineExceeded, "%v", ctx.Err())
	}
}

// question has a time of its own, since others wait for its answer.
func (e *Edge) question(ctx context.Context, n name) (*service, error) {
	ctx, cancel := context.WithTimeout(identity.AsComponent(ctx), asking)
	defer cancel()
	select {
	case e.lookups.busy <- struct{}{}:
		defer func() { <-e.lookups.busy }()
	case <-ctx.Done():
		return nil, errors.New(codes.Unavailable, "too many services are being looked for, try again")
	}
	rsp, err := e.registry.GetService(ctx, &registrypb.GetRequest{Service: n.service, Options: &registrypb.Options{Domain: n.namespace}})
	if err != nil && errors.Code(err) != codes.NotFound {
		return nil, errors.New(codes.Unavailable, "the registry is not reachable, try again").Because(err)
	}
	return e.routes.remember(n, rsp.GetServices(), time.Now()), nil
}
