package app

import (
	"context"
	"time"

	"google.golang.org/grpc/resolver"
)

// lookEvery is how often a name that stands for the instances of a component is
// looked up again.
const lookEvery = 2 * time.Second

// looking has gRPC's resolver of names look again and again. By itself it looks
// when a connection is lost: an instance that joins the others would get no calls,
// and when those drain there would be none left to call.
type looking struct {
	resolver.Builder
	every time.Duration
}

// Build implements resolver.Builder.
func (l looking) Build(target resolver.Target, cc resolver.ClientConn, o resolver.BuildOptions) (resolver.Resolver, error) {
	r, err := l.Builder.Build(target, cc, o)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() { // ends with Close
		t := time.NewTicker(l.every)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				r.ResolveNow(resolver.ResolveNowOptions{})
			}
		}
	}()
	return &looker{r, stop}, nil
}

// looker is a resolver that ends its looks when it is closed.
type looker struct {
	resolver.Resolver
	stop context.CancelFunc
}

// Close implements resolver.Resolver.
func (l *looker) Close() {
	l.stop()
	l.Resolver.Close()
}
