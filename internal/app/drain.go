package app

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
)

// How long stopping takes at most. In one process all components share it, and
// nobody else takes their calls; apart, each has it to itself.
const (
	stopTogether  = 8 * time.Second
	drainTogether = 3 * time.Second // for the calls in hand of a server
	drainApart    = 6 * time.Second
	afterDrain    = 3 * time.Second
	// streamsApart is how long streams go on before they are told to connect
	// again: they would never end.
	streamsApart = 2 * time.Second
)

func (c Config) stopBudget() time.Duration {
	if !c.Apart {
		return stopTogether
	}
	return c.Platform.DrainNotice + drainApart + afterDrain
}

// Drain is how long what serves may let calls in hand finish.
func (h *Host) Drain() time.Duration {
	if h.group.Apart {
		return drainApart
	}
	return drainTogether
}

// OnDrain runs f first when the component is told to stop; apart, all of it still
// works then: f takes what serves out of service and comes back when its calls are
// done. ctx ends when the time to stop is up.
func (h *Host) OnDrain(f func(ctx context.Context)) { h.drains = append(h.drains, f) }

// drain runs what OnDrain was given, at once.
func (h *Host) drain(ctx context.Context) {
	var all sync.WaitGroup
	for _, f := range h.drains {
		all.Go(func() { f(ctx) })
	}
	all.Wait()
}

// Notice waits until those who call a component that is apart have heard that it
// is not in service any more.
func (h *Host) Notice(ctx context.Context) {
	if !h.group.Apart || h.Platform.DrainNotice <= 0 {
		return
	}
	t := time.NewTimer(h.Platform.DrainNotice)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// DrainServer takes a server out of service: its health says so, callers get
// notice, calls in hand finish. What is left then is cut off.
func (h *Host) DrainServer(ctx context.Context, s *grpc.Server, status *health.Server) {
	status.Shutdown()
	h.Notice(ctx)
	ctx, cancel := context.WithTimeout(ctx, h.Drain())
	defer cancel()
	done := make(chan struct{})
	go func() { s.GracefulStop(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		s.Stop()
		<-done
	}
}
