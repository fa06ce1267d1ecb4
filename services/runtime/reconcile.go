package runtime

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pause"
)

// reconciler brings every revision to where it should be. One process at a
// time has one. What it knows beyond the database is only what the scheduler
// says, so that another can go on wherever this one stops.
type reconciler struct {
	svc         *Service
	log         *slog.Logger
	deployments *deployments
	look        chan struct{}          // what runs may have changed
	orphans     atomic.Pointer[[]item] // since the last look for work
	found       chan struct{}          // there are orphans
	behind      atomic.Bool            // the lines of a crash are still to come
	starts      chan struct{}          // holds one for each revision that is being started
	tasks       map[item]*task
	ended       chan item
	work        sync.WaitGroup
}

func newReconciler(s *Service, log *slog.Logger) *reconciler {
	return &reconciler{svc: s, log: log, deployments: newDeployments(), look: make(chan struct{}, 1), found: make(chan struct{}, 1),
		starts: make(chan struct{}, s.opts.Starts), tasks: map[item]*task{}, ended: make(chan item, s.opts.Parallel)}
}

// task is one step of one revision under way. Its item, without the state, is
// its key in tasks.
type task struct {
	state  state
	cancel context.CancelFunc
}

// The reconciler looks for work when something has changed, and now and then in
// case it was not told, but at most every workLeast.
const (
	lookEvery  = 5 * time.Second
	workLeast  = 20 * time.Millisecond
	sweepEvery = time.Minute
)

// run works until ctx ends. It leaves no goroutine behind.
func (r *reconciler) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(identity.AsComponent(ctx))
	defer r.work.Wait()
	defer cancel()
	r.work.Go(func() { r.follow(ctx) })
	r.work.Go(func() { r.compare(ctx) })
	r.work.Go(func() { r.sweep(ctx) })
	changed, leave := r.svc.hub.subscribe(everything)
	defer leave()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		items, err := r.svc.db.work(ctx, r.svc.opts.PerNamespace, r.svc.opts.Parallel)
		if err == nil {
			if orphans := r.orphans.Swap(nil); orphans != nil {
				items = append(items, *orphans...)
			}
			r.schedule(ctx, items)
		} else if ctx.Err() == nil {
			r.log.Warn("looking for work failed", "error", err)
		}
		pause.For(ctx, workLeast) //nolint:errcheck // the select says it
		select {
		case <-ctx.Done():
			return nil
		case it := <-r.ended:
			delete(r.tasks, it)
		case <-changed:
		case <-r.found:
		case <-tick.C:
		}
	}
}

// schedule starts a task for each item that has none, and cancels those whose
// revision has gone elsewhere: the next look finds what it needs now.
func (r *reconciler) schedule(ctx context.Context, items []item) {
	listed := map[item]bool{}
	for _, it := range items {
		st := it.State
		it.State = ""
		listed[it] = true
		if t := r.tasks[it]; t != nil {
			if t.state != st {
				t.cancel()
			}
			continue
		}
		if len(r.tasks) >= r.svc.opts.Parallel {
			continue
		}
		taskCtx, cancel := context.WithCancel(ctx)
		r.tasks[it] = &task{state: st, cancel: cancel}
		r.work.Go(func() {
			defer cancel()
			r.perform(taskCtx, it, st)
			r.ended <- it // has room for every task there can be
		})
	}
	for it, t := range r.tasks {
		if !listed[it] && !it.Orphan { // those are listed once
			t.cancel()
		}
	}
}

// Attempts at a step grow apart up to maxBackoff.
const (
	minBackoff = 200 * time.Millisecond
	maxBackoff = 15 * time.Second
)

// perform does one step of a revision, until it succeeds, fails for good or is
// no longer wanted.
func (r *reconciler) perform(ctx context.Context, it item, st state) {
	for backoff := minBackoff; ctx.Err() == nil; backoff = min(2*backoff, maxBackoff) {
		err := r.step(ctx, it, st)
		if err == nil || ctx.Err() != nil {
			return
		}
		r.log.Warn("a step did not succeed, trying again", "service", it.key.String(), "revision", it.Number, "state", string(st), "error", err)
		if it.Number != 0 && !it.Orphan && st != failed { // why it failed is worth more than why it is not cleaned up yet
			stuck := revision{key: it.key, Number: it.Number, State: st}
			if err := r.svc.db.note(ctx, stuck, retryText(err)); err != nil && ctx.Err() == nil {
				r.log.Warn("could not note why", "error", err)
			}
		}
		pause.For(ctx, backoff) //nolint:errcheck // the loop ends
	}
}

// tryingAgain ends the reasons of what is not given up.
const tryingAgain = "; trying again"

// retryText is what people read while a step is tried again.
func retryText(err error) string {
	if errors.Code(err) == codes.Unavailable {
		return detail(err) + tryingAgain
	}
	return "an internal error" + tryingAgain
}

// sweep removes what is no longer of use, for as long as ctx lives.
func (r *reconciler) sweep(ctx context.Context) {
	for ctx.Err() == nil {
		err := errors.Join(r.sweepRevisions(ctx), r.svc.sweepUploads(ctx),
			r.svc.db.dropRequests(ctx, r.svc.now().Add(-24*time.Hour)))
		if err != nil && ctx.Err() == nil {
			r.log.Warn("sweeping failed", "error", err)
		}
		pause.For(ctx, sweepEvery) //nolint:errcheck // the loop ends
	}
}

// sweepRevisions forgets revisions that ended long ago, with their builds.
func (r *reconciler) sweepRevisions(ctx context.Context) error {
	old, err := r.svc.db.old(ctx, r.svc.opts.Keep, 500)
	if err != nil {
		return err
	}
	for _, rev := range old {
		shared, err := r.svc.db.shared(ctx, rev)
		if err != nil {
			return err
		}
		if !shared {
			err = r.forgetBuild(ctx, rev)
		}
		if err != nil {
			return err
		}
		if err := r.svc.db.drop(ctx, rev); err != nil {
			return err
		}
	}
	return nil
}
