package builder

import (
	"context"
	stderrors "errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/docker/docker/client"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"gocloud.dev/blob"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/builder/image"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/full"
	builderpb "github.com/micro/platform/proto/builder"
)

const (
	maxAttempts = 5
	pulse       = 500 * time.Millisecond // of heartbeats and of the log
	silence     = 10 * time.Second       // without a heartbeat, and the build is someone else's
	busyWait    = time.Second
	stoppedWait = 5 * time.Second // of builds whose namespace is stopped
	forever     = 100 * 365 * 24 * time.Hour
	stopTime    = 4 * time.Second
	sweepEvery  = 10 * time.Minute
)

// job asks for a build to be run. That it comes twice, or late, does no harm:
// the build's row decides.
type job struct{ image.ID }

// Kind implements river.JobArgs.
func (job) Kind() string { return "build" }

// workers run the jobs.
type workers struct {
	river.WorkerDefaults[job]

	*Service
	bucket *blob.Bucket
	dir    string
	log    *slog.Logger
}

// newWorkers makes the workers of a service and connects it to their queue.
func newWorkers(s *Service, bucket *blob.Bucket, dir string, log *slog.Logger) (*workers, error) {
	w := &workers{Service: s, bucket: bucket, dir: dir, log: log}
	all := river.NewWorkers()
	if err := river.AddWorkerSafely(all, w); err != nil {
		return nil, err
	}
	jobs, err := river.NewClient(riverpgxv5.New(s.db.pool), &river.Config{
		Schema: "builder", Workers: all, Logger: slog.New(quiet{log.Handler()}),
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: s.opts.Concurrency}},
		JobTimeout:        -1, // each step has its own
		FetchPollInterval: time.Second,
		ReindexerSchedule: river.NeverSchedule(), // the component does not own its tables
	})
	if err != nil {
		return nil, fmt.Errorf("make job queue: %w", err)
	}
	s.jobs = jobs
	return w, nil
}

// quiet passes on what an operator acts on; River says more than that.
type quiet struct{ slog.Handler }

func (q quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && q.Handler.Enabled(ctx, l)
}

// start begins to work.
func (w *workers) start(ctx context.Context) error {
	if err := w.jobs.Start(context.WithoutCancel(ctx)); err != nil { // it ends by stop
		return fmt.Errorf("start job queue: %w", err)
	}
	return nil
}

// stop ends the builds in hand and gives them back.
func (w *workers) stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, stopTime)
	defer cancel()
	if err := w.jobs.StopAndCancel(ctx); err != nil {
		w.log.Warn("builds did not stop in time", "error", err)
	}
}

// recoverLoop queues the builds again whose worker has died.
func (w *workers) recoverLoop(ctx context.Context) error {
	return app.Every(ctx, silence/4, func() {
		if err := w.recover(ctx); err != nil && ctx.Err() == nil {
			w.log.Warn("abandoned builds were not queued again", "error", err)
		}
	})
}

func (w *workers) recover(ctx context.Context) error {
	return pgx.BeginFunc(ctx, w.db.pool, func(tx pgx.Tx) error {
		ids, err := w.db.abandoned(ctx, tx, silence)
		if err != nil {
			return err
		}
		for _, id := range ids {
			w.log.Warn("build was abandoned, it is queued again", "namespace", id.Namespace, "service", id.Service, "revision", id.Revision)
			if _, err := w.jobs.InsertTx(ctx, tx, job{id}, nil); err != nil {
				return fmt.Errorf("enqueue build: %w", err)
			}
		}
		return nil
	})
}

// sweepLoop removes what builds left behind on Docker.
func (w *workers) sweepLoop(ctx context.Context) error {
	return app.Every(ctx, sweepEvery, func() {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if err := w.images.Sweep(ctx, time.Now(), w.isErased); err != nil && ctx.Err() == nil {
			w.log.Warn("leftovers of builds were not removed", "error", err)
		}
	})
}

// Work implements river.Worker. What it answers decides about the job alone;
// the build's own state is in its row.
func (w *workers) Work(ctx context.Context, j *river.Job[job]) error {
	id := j.Args.ID
	t, err := w.tenants.Of(ctx, id.Namespace)
	if err != nil {
		return river.JobSnooze(stoppedWait)
	}
	if why := t.Stopped(); why != "" { // nothing of it runs
		if _, err := w.db.hold(ctx, id, why+": the build waits", forever); err != nil {
			return err
		}
		return river.JobSnooze(stoppedWait)
	}
	if why := w.unfit(ctx); why != "" { // an attempt would only be spent
		held, err := w.db.hold(ctx, id, why+": the build waits", w.opts.DockerWait)
		if err != nil {
			return err
		}
		if held {
			return river.JobSnooze(busyWait)
		}
	}
	b, err := w.db.claim(ctx, id, t.Limits.Builds)
	switch {
	case stderrors.Is(err, errBusy):
		return river.JobSnooze(busyWait)
	case stderrors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return err
	}
	outcome, err := w.attempt(ctx, id, b)
	// The end is written even when this process is told to stop.
	finish, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	again := w.decide(ctx, id, b, err, &outcome)
	if _, err := w.db.finish(finish, id, b.Attempt, outcome); err != nil {
		return err // its heartbeat has ended: it will be queued again
	}
	if again > 0 {
		return river.JobSnooze(again)
	}
	return nil
}

// unfit says why no build can begin on this host now, "" when one can.
func (w *workers) unfit(ctx context.Context) string {
	if w.images.Ping(ctx) != nil {
		return "Docker is not reachable"
	}
	if err := w.checkRoom(ctx); err != nil {
		return reason(err)
	}
	return ""
}

// checkRoom refuses builds that would fill the disk of this host, on which
// services may run. Caches make room first.
func (w *workers) checkRoom(ctx context.Context) error {
	if w.opts.Disk <= 0 {
		return nil
	}
	free, err := w.images.Room(ctx, w.dir)
	if err == nil && free < w.opts.Disk {
		dropped, err := w.images.DropCaches(ctx)
		if err != nil {
			return err
		}
		if dropped > 0 {
			w.log.Warn("the builder's disk is nearly full: caches of builds were removed", "free", free, "caches", dropped)
		}
		if free, err = w.images.Room(ctx, w.dir); err != nil {
			return err
		}
	}
	if err != nil || free >= w.opts.Disk {
		return err
	}
	return errors.New(codes.ResourceExhausted, "the builder's host has %d MiB of disk left, and a build needs %d", free>>20, w.opts.Disk>>20)
}

// decide makes the end of an attempt from its error. It answers after how long
// there is another one, or 0.
func (w *workers) decide(ctx context.Context, id image.ID, b build, err error, s *state) time.Duration {
	var told *errors.Error
	storage := full.Storage(err)
	switch {
	case err == nil:
		s.Phase, s.Step = builderpb.State_SUCCEEDED, ""
		return 0
	case stderrors.Is(err, errLost): // canceled, or another worker has it
		return 0
	case ctx.Err() != nil: // this process stops; the next one takes over
		s.Phase, s.Step = builderpb.State_QUEUED, "waiting for another attempt"
		return busyWait
	case storage == nil && errors.As(err, &told):
		s.Phase, s.Reason = builderpb.State_FAILED, told.Detail
		return 0
	}
	w.log.Warn("build was interrupted", "namespace", id.Namespace, "service", id.Service, "revision", id.Revision,
		"attempt", b.Attempt, "step", s.Step, "error", err)
	if b.Attempt < maxAttempts {
		s.Phase, s.Step = builderpb.State_QUEUED, "waiting for another attempt"
		return time.Second << (b.Attempt - 1)
	}
	s.Phase, s.Reason = builderpb.State_FAILED, fmt.Sprintf("the build was interrupted %d times while %s, through no fault of the source: deploy it again", maxAttempts, s.Step)
	if storage != nil {
		s.Reason = storage.Detail
	} else if client.IsErrConnectionFailed(err) {
		s.Reason = "Docker is not reachable: ask the server's operator, and deploy again"
	}
	return 0
}
