package runtime

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/pause"
	schedulerpb "github.com/micro/platform/proto/scheduler"
)

// deploymentKey names a deployment: a revision.
type deploymentKey struct {
	key
	Number int64
}

// deployments is what the scheduler last said of each deployment. It is true
// while ready; otherwise the scheduler is away, and so is what it would say.
type deployments struct {
	mu       sync.Mutex
	statuses map[deploymentKey]*schedulerpb.Status
	ready    bool
	changed  chan struct{} // closed at the next change
}

func newDeployments() *deployments {
	return &deployments{statuses: map[deploymentKey]*schedulerpb.Status{}, changed: make(chan struct{})}
}

// get answers the status of a revision's deployment, nil if there is none, and
// a channel that closes at the next change of any.
func (d *deployments) get(k deploymentKey) (s *schedulerpb.Status, ready bool, changed <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.statuses[k], d.ready, d.changed
}

// all answers every deployment there is, or false while that is not known.
func (d *deployments) all() (map[deploymentKey]*schedulerpb.Status, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make(map[deploymentKey]*schedulerpb.Status, len(d.statuses))
	for k, s := range d.statuses {
		out[k] = s
	}
	return out, d.ready
}

// hear takes one message of the scheduler's stream.
func (d *deployments) hear(s *schedulerpb.Status) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.GetId() != nil {
		k := deploymentKey{key{s.GetId().GetNamespace(), s.GetId().GetService(), s.GetId().GetVersion()}, s.GetId().GetRevision()}
		if s.GetState() == schedulerpb.Status_GONE {
			delete(d.statuses, k)
		} else {
			d.statuses[k] = s
		}
	}
	d.ready = d.ready || s.GetReady()
	d.signal()
}

// reset forgets everything: the stream has ended.
func (d *deployments) reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.statuses, d.ready = map[deploymentKey]*schedulerpb.Status{}, false
	d.signal()
}

// signal is called with mu held.
func (d *deployments) signal() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// awayText is what people read while nothing is known of the containers.
const awayText = "Docker is not reachable, so nothing is known of the containers until it is back"

// follow listens to the scheduler, for as long as ctx lives.
func (r *reconciler) follow(ctx context.Context) {
	for ctx.Err() == nil {
		err := r.listen(ctx)
		r.deployments.reset()
		if ctx.Err() != nil {
			return
		}
		r.log.Warn("the scheduler is away", "error", err)
		if err := r.svc.db.noteRunning(ctx, awayText); err != nil {
			r.log.Warn("could not note that the scheduler is away", "error", err)
		}
		pause.For(ctx, time.Second) //nolint:errcheck // the loop ends
	}
}

func (r *reconciler) listen(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := r.svc.peers.Scheduler.Watch(ctx, &schedulerpb.WatchRequest{})
	if err != nil {
		return fmt.Errorf("watch deployments: %w", err)
	}
	for {
		status, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("watch deployments: %w", err)
		}
		r.deployments.hear(status)
		select {
		case r.look <- struct{}{}:
		default: // it has not yet looked since the last change
		}
	}
}

// compareEvery is how often what runs is compared with what should run without
// anything having been heard of, and compareLeast the time between two looks when
// much is: each is one at everything.
const (
	compareEvery = 30 * time.Second
	compareLeast = 100 * time.Millisecond
)

// settleAtOnce is how many revisions are compared at a time: one whose host does
// not answer keeps few others waiting.
const settleAtOnce = 4

// compare keeps what runs and what should run together, for as long as ctx
// lives.
func (r *reconciler) compare(ctx context.Context) {
	changed, leave := r.svc.hub.subscribe(everything)
	defer leave()
	for again := time.Second; ctx.Err() == nil; {
		wait := compareEvery
		switch err := r.compareOnce(ctx); {
		case ctx.Err() != nil:
			return
		case err != nil:
			r.log.Warn("not all deployments are as they should be, trying again", "error", err, "retry_in", again)
			wait, again = again, min(2*again, compareEvery)
		default:
			again = time.Second
		}
		pause.For(ctx, compareLeast) //nolint:errcheck // the loop ends
		if r.behind.Swap(false) {
			wait = time.Second
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-r.look:
		case <-changed:
		case <-r.svc.tenantsChanged:
		case <-t.C:
		}
		t.Stop()
	}
}

// compareOnce goes on after what cannot be settled now: it is one tenant's.
func (r *reconciler) compareOnce(ctx context.Context) error {
	// The database is read after the list: a deployment exists only after its
	// revision's account is written down, so one that is in the list and not
	// wanted by the database is not wanted at all.
	actual, ready := r.deployments.all()
	if !ready {
		return nil
	}
	wanted, err := r.svc.db.deployed(ctx)
	if err != nil {
		return err
	}
	errs := make([]error, len(wanted))
	var work errgroup.Group
	work.SetLimit(settleAtOnce)
	for i, rev := range wanted {
		delete(actual, rev.id())
		work.Go(func() error {
			errs[i] = r.attend(ctx, rev)
			return nil
		})
	}
	work.Wait() //nolint:errcheck // they are in errs
	orphans := make([]item, 0, len(actual))
	for k := range actual {
		orphans = append(orphans, item{key: k.key, Number: k.Number, Orphan: true})
	}
	r.orphans.Store(&orphans)
	if len(orphans) > 0 {
		select {
		case r.found <- struct{}{}:
		default:
		}
	}
	return errors.Join(append(errs, r.release(ctx))...)
}

// attend looks after a revision that has or should have a deployment.
func (r *reconciler) attend(ctx context.Context, rev revision) error {
	why, err := r.svc.heldBack(ctx, rev.key)
	if err != nil {
		return fmt.Errorf("ask whether %s may run: %w", rev, err)
	}
	if why != "" {
		return r.svc.db.hold(ctx, rev, why) // a task removes what runs
	}
	// A revision runs only after its deployment was heard of, so here the newest
	// word counts, not the list.
	status, ready, _ := r.deployments.get(rev.id())
	if !ready {
		return nil
	}
	if err := r.settle(ctx, rev, status); err != nil {
		return fmt.Errorf("settle %s: %w", rev, err)
	}
	return nil
}

// settle writes down what became of a revision that ran.
func (r *reconciler) settle(ctx context.Context, rev revision, status *schedulerpb.Status) error {
	if err := r.noteCrashes(ctx, rev, status.GetExits()); err != nil {
		return err
	}
	if status.GetImageGone() {
		if err := r.svc.db.seen(ctx, rev, rev.Reason, status.GetLastExit(), len(status.GetInstances()), status.GetWanted()); err != nil {
			return err
		}
		if sent, err := r.buildAgain(ctx, rev); sent || err != nil {
			return err
		}
	}
	switch {
	case status == nil:
		return r.svc.db.move(ctx, rev, lost, "its containers were gone: starting them again", nil)
	case rev.State == running && status.GetState() == schedulerpb.Status_FAILED:
		r.log.Info("a service crashed", "revision", rev.String())
		return r.svc.db.move(ctx, rev, broke, reasonOr(status.GetReason(), "the process ended"), nil)
	case rev.State == failed && status.GetState() == schedulerpb.Status_RUNNING:
		return r.svc.db.move(ctx, rev, recovered, "", nil)
	}
	if err := r.scale(ctx, rev, status.GetWanted()); err != nil {
		return err
	}
	reason := rev.Reason
	if rev.State == running {
		reason = status.GetReason() // an instance that is being started again, or nothing
	}
	return r.svc.db.seen(ctx, rev, reason, status.GetLastExit(), len(status.GetInstances()), status.GetWanted())
}

// scale brings a deployment to as many instances as are wanted of it.
func (r *reconciler) scale(ctx context.Context, rev revision, has int64) error {
	if rev.Instances == 0 || rev.Instances == has {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := r.svc.peers.Scheduler.Scale(ctx, &schedulerpb.ScaleRequest{Id: rev.id().message(), Instances: rev.Instances}); err != nil {
		return fmt.Errorf("scale %s: %w", rev, err)
	}
	return nil
}

// removeOrphan removes a deployment that no revision owns, as a crash of this
// platform at the wrong moment can leave one.
func (r *reconciler) removeOrphan(ctx context.Context, k deploymentKey) error {
	rev, err := r.svc.db.revision(ctx, k.key, k.Number)
	if errors.Code(err) != codes.NotFound && err != nil {
		return err
	}
	if err == nil && rev.Account != "" {
		return nil // it is being worked on
	}
	r.log.Warn("removing a deployment that nothing owns", "revision", fmt.Sprintf("%s r%d", k.key, k.Number))
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	if _, err := r.svc.peers.Scheduler.Remove(ctx, &schedulerpb.RemoveRequest{Id: k.message()}); err != nil {
		return fmt.Errorf("remove orphan: %w", err)
	}
	return nil
}

func (k deploymentKey) message() *schedulerpb.ID {
	return &schedulerpb.ID{Namespace: k.Namespace, Service: k.Name, Version: k.Version, Revision: k.Number}
}

func (r revision) id() deploymentKey { return deploymentKey{r.key, r.Number} }

// reasonOr answers a reason that is not empty.
func reasonOr(reason, otherwise string) string {
	if reason == "" {
		return otherwise
	}
	return reason
}
