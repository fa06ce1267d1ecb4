package runtime

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/micro/platform/internal/pause"
	registrypb "github.com/micro/platform/proto/registry"
	schedulerpb "github.com/micro/platform/proto/scheduler"
)

// turnFor is how long a start keeps others waiting.
const turnFor = 10 * time.Second

// turn waits until few enough revisions are being started, and answers what gives
// the turn to the next. A host that starts everything at once is ready with nothing
// in time; one that does not come up must not hold up the rest for long either.
func (r *reconciler) turn(ctx context.Context, rev revision) (done func(), err error) {
	select {
	case r.starts <- struct{}{}:
	default:
		if err := r.svc.db.note(ctx, rev, "waiting for its turn to start"); err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case r.starts <- struct{}{}:
		}
	}
	give := sync.OnceFunc(func() { <-r.starts })
	late := time.AfterFunc(turnFor, give)
	return func() { late.Stop(); give() }, nil
}

// awaitAnswer waits until the containers of a revision answer. What was known of
// them before they were asked for is that of an image that is built again since.
func (r *reconciler) awaitAnswer(ctx context.Context, rev revision, before *schedulerpb.Status) error {
	late := time.NewTimer(r.svc.opts.StartTimeout)
	defer late.Stop()
	for {
		s, ready, changed := r.deployments.get(rev.id())
		note := reasonOr(s.GetReason(), "starting")
		switch {
		case !ready:
			note = awayText
			late.Reset(r.svc.opts.StartTimeout) // only time that the hosts had counts
		case s.GetState() == schedulerpb.Status_RUNNING:
			return nil
		case s.GetImageGone() && s == before:
		case s.GetState() == schedulerpb.Status_FAILED:
			return r.startFailed(ctx, rev, s, reasonOr(s.GetReason(), "the process ended"))
		}
		if err := r.svc.db.note(ctx, rev, note); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-late.C:
			if !ready {
				continue
			}
			return r.startFailed(ctx, rev, s, fmt.Sprintf("not started within %v: %s", r.svc.opts.StartTimeout, note))
		}
	}
}

// unregisteredText is the reason of a revision whose process runs and cannot be
// called.
const unregisteredText = "the service runs but has not registered within %v: build it on the framework, which registers it when service.Run is called"

// awaitNodes waits until the registry has a node of each instance of a revision.
func (r *reconciler) awaitNodes(ctx context.Context, rev revision) error {
	if err := r.svc.db.note(ctx, rev, "waiting for the service to register"); err != nil {
		return err
	}
	deadline := time.Now().Add(r.svc.opts.RegisterTimeout)
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		rsp, err := r.svc.peers.Nodes.List(ctx, &registrypb.NodesRequest{Domain: rev.Namespace, Account: rev.Account})
		if err != nil {
			return fmt.Errorf("look for nodes: %w", err)
		}
		s, ready, _ := r.deployments.get(rev.id())
		registered, instances := hosts(rsp.GetServices()), len(s.GetInstances())
		switch {
		case !ready:
			deadline = time.Now().Add(r.svc.opts.RegisterTimeout)
		case s.GetState() == schedulerpb.Status_RUNNING && registered >= max(instances, 1):
			return nil
		case s.GetState() == schedulerpb.Status_FAILED:
			return r.startFailed(ctx, rev, s, reasonOr(s.GetReason(), "the process ended"))
		case time.Now().After(deadline):
			return r.unregistered(ctx, rev, s, registered)
		}
		if err := pause.For(ctx, wait); err != nil {
			return err
		}
	}
}

// unregistered says what was waited for in vain by awaitNodes.
func (r *reconciler) unregistered(ctx context.Context, rev revision, s *schedulerpb.Status, registered int) error {
	reason := fmt.Sprintf(unregisteredText, r.svc.opts.RegisterTimeout)
	switch {
	case s.GetState() != schedulerpb.Status_RUNNING:
		reason = fmt.Sprintf("it does not stay up for %v: %s", r.svc.opts.RegisterTimeout, reasonOr(s.GetReason(), "an instance is missing"))
	case registered > 0:
		reason = fmt.Sprintf("%d of %d instances have registered within %v", registered, len(s.GetInstances()), r.svc.opts.RegisterTimeout)
	}
	return r.startFailed(ctx, rev, s, reason)
}

// startFailed is the end of a start. What the containers have said is kept, since
// they are removed.
func (r *reconciler) startFailed(ctx context.Context, rev revision, s *schedulerpb.Status, reason string) error {
	if err := r.noteCrashes(ctx, rev, s.GetExits()); err != nil {
		return err
	}
	return failure{reason: reason, tail: r.lastLines(ctx, rev), unbuilt: s.GetImageGone()}
}

// buildAgain sends a revision whose image is gone to the builder, and answers
// true then: false when that was done a moment ago, and did not help.
func (r *reconciler) buildAgain(ctx context.Context, rev revision) (bool, error) {
	sent, err := r.svc.db.unbuild(ctx, rev, "its image is gone: building it again")
	if sent {
		r.log.Warn("the image of a service is gone, it is built again", "revision", rev.String())
	}
	return sent, err
}

// hosts answers how many containers there are among nodes.
func hosts(services []*registrypb.Service) int {
	seen := map[string]bool{}
	for _, s := range services {
		for _, n := range s.GetNodes() {
			host, _, err := net.SplitHostPort(n.GetAddress())
			if err != nil {
				host = n.GetAddress()
			}
			seen[host] = true
		}
	}
	return len(seen)
}
