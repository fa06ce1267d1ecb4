package builder

import (
	"context"
	stderrors "errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/builder/image"
	"github.com/micro/platform/framework/errors"
	builderpb "github.com/micro/platform/proto/builder"
)

type db struct{ pool *pgxpool.Pool }

// build is a row of builder.builds, as much as a worker needs.
type build struct {
	Source, Upload, Ref, Entrypoint string
	Credentials                     []byte
	Attempt, Slot                   int
}

type state struct {
	Phase                       builderpb.State_Phase
	Step, Reason, Image, Commit string
}

func args(id image.ID) pgx.NamedArgs {
	return pgx.NamedArgs{"namespace": id.Namespace, "service": id.Service, "version": id.Version, "revision": id.Revision,
		"queued": builderpb.State_QUEUED, "running": builderpb.State_RUNNING}
}

// with adds to args.
func with(a pgx.NamedArgs, more pgx.NamedArgs) pgx.NamedArgs {
	for k, v := range more {
		a[k] = v
	}
	return a
}

const whereID = ` namespace = @namespace AND service = @service AND version = @version AND revision = @revision `

// insert adds a build, unless it is there; then it answers false.
func (d db) insert(ctx context.Context, tx pgx.Tx, id image.ID, b build, limit int) (bool, error) {
	// One at a time per namespace, so that the limit holds.
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('builder insert ' || $1, 0))", id.Namespace); err != nil {
		return false, fmt.Errorf("lock builds: %w", err)
	}
	const q = `
		INSERT INTO builder.builds (namespace, service, version, revision, source, upload, ref, entrypoint, credentials)
		VALUES (@namespace, @service, @version, @revision, @source, @upload, @ref, @entrypoint, @credentials)
		ON CONFLICT DO NOTHING`
	tag, err := tx.Exec(ctx, q, with(args(id), pgx.NamedArgs{"source": b.Source, "upload": b.Upload, "ref": b.Ref,
		"entrypoint": b.Entrypoint, "credentials": b.Credentials}))
	if err != nil {
		return false, fmt.Errorf("insert build: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return false, nil
	}
	const waiting = `SELECT count(*) FROM builder.builds WHERE phase = @queued AND namespace = @namespace`
	var n int
	if err := tx.QueryRow(ctx, waiting, args(id)).Scan(&n); err != nil {
		return false, fmt.Errorf("count builds: %w", err)
	}
	if n > limit {
		return false, errors.New(codes.ResourceExhausted, "%d builds are waiting in namespace %q: try again when some have ended", limit, id.Namespace)
	}
	return true, nil
}

// waiting answers how many builds are queued, and for how long the oldest.
func (d db) waiting(ctx context.Context) (n int64, oldest time.Duration, err error) {
	const q = `SELECT count(*), coalesce(now() - min(created_at), '0') FROM builder.builds WHERE phase = @queued`
	if err := d.pool.QueryRow(ctx, q, pgx.NamedArgs{"queued": builderpb.State_QUEUED}).Scan(&n, &oldest); err != nil {
		return 0, 0, fmt.Errorf("count builds: %w", err)
	}
	return n, oldest, nil
}

// minutes answers how long builds of a namespace took this month, with those
// that run.
func (d db) minutes(ctx context.Context, namespace string) (float64, error) {
	const q = `
		SELECT coalesce((SELECT seconds FROM builder.minutes
				WHERE namespace = @namespace AND month = date_trunc('month', now() AT TIME ZONE 'UTC')), 0)
			+ coalesce((SELECT sum(extract(epoch FROM now() - started_at)) FROM builder.builds
				WHERE phase = @running AND namespace = @namespace), 0)::double precision`
	var seconds float64
	if err := d.pool.QueryRow(ctx, q, pgx.NamedArgs{"namespace": namespace, "running": builderpb.State_RUNNING}).Scan(&seconds); err != nil {
		return 0, fmt.Errorf("count minutes of builds: %w", err)
	}
	return seconds / 60, nil
}

func (d db) state(ctx context.Context, id image.ID) (state, error) {
	const q = `SELECT phase, step, reason, image, commit FROM builder.builds WHERE` + whereID
	rows, _ := d.pool.Query(ctx, q, args(id)) // CollectExactlyOneRow reports the error
	s, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[state])
	if stderrors.Is(err, pgx.ErrNoRows) {
		return s, errors.New(codes.NotFound, "no build of %s %s, revision %d", id.Service, id.Version, id.Revision)
	}
	if err != nil {
		return s, fmt.Errorf("get build: %w", err)
	}
	return s, nil
}

// requeue queues a build again that has ended, of the commit that it was of. It
// answers false when it is no longer the one that made that image. A build that
// fails keeps the image that it had, so that it can be tried again.
func (d db) requeue(ctx context.Context, tx pgx.Tx, id image.ID, gone string, credentials []byte) (bool, error) {
	const q = `
		UPDATE builder.builds
		SET phase = @queued, step = 'its image is gone', reason = '', attempt = 0, heartbeat_at = NULL, ended_at = NULL, created_at = now(),
			credentials = @credentials, ref = CASE WHEN upload = '' AND commit <> '' THEN commit ELSE ref END
		WHERE phase NOT IN (@queued, @running) AND image = @image AND` + whereID
	tag, err := tx.Exec(ctx, q, with(args(id), pgx.NamedArgs{"image": gone, "credentials": credentials}))
	if err != nil {
		return false, fmt.Errorf("queue build again: %w", err)
	}
	return tag.RowsAffected() > 0, nil
}

// heldFor is how long a build that is held counts as such unless it is said again:
// longer than until it is looked at the next time.
const heldFor = 3 * stoppedWait

// hold notes why a queued build waits, and that others need not wait for it. It
// answers false when the build is not queued, or has waited for its time.
func (d db) hold(ctx context.Context, id image.ID, why string, patience time.Duration) (bool, error) {
	const q = `
		UPDATE builder.builds
		SET step = @step, held_until = now() + @held::interval
		WHERE phase = @queued AND created_at > now() - @patience::interval AND` + whereID
	tag, err := d.pool.Exec(ctx, q, with(args(id), pgx.NamedArgs{"step": why, "patience": patience, "held": heldFor}))
	if err != nil {
		return false, fmt.Errorf("hold build: %w", err)
	}
	return tag.RowsAffected() > 0, nil
}

// errBusy is a namespace whose builds have to wait.
var errBusy = stderrors.New("the namespace has as many builds running as it may")

// claim gives a queued build to the caller, pgx.ErrNoRows when it is not to be
// had (any more), or errBusy: when as many run as the namespace may have at
// once, or when one of its own does and others, who could have one, have none.
func (d db) claim(ctx context.Context, id image.ID, atOnce plans.Limit) (b build, err error) {
	err = pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('builder claim ' || $1, 0))", id.Namespace); err != nil {
			return fmt.Errorf("lock builds: %w", err)
		}
		slot, err := freeSlot(ctx, tx, id, atOnce)
		if err != nil {
			return err
		}
		const q = `
			UPDATE builder.builds
			SET phase = @running, attempt = attempt + 1, slot = @slot, heartbeat_at = now(), started_at = now(), step = '', held_until = NULL
			WHERE phase = @queued AND` + whereID + `
			RETURNING source, upload, ref, entrypoint, credentials, attempt, slot`
		rows, _ := tx.Query(ctx, q, with(args(id), pgx.NamedArgs{"slot": slot})) // CollectExactlyOneRow reports the error
		b, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[build])
		return err
	})
	return b, err
}

// freeSlot answers the first slot that no build of a namespace has, or errBusy.
func freeSlot(ctx context.Context, tx pgx.Tx, id image.ID, atOnce plans.Limit) (int, error) {
	const running = `SELECT slot FROM builder.builds WHERE phase = @running AND namespace = @namespace`
	rows, _ := tx.Query(ctx, running, args(id)) // CollectRows reports the error
	taken, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		return 0, fmt.Errorf("look for running builds: %w", err)
	}
	if len(taken) == 0 {
		return 0, nil // whatever the plan: a build that waits for ever is worse
	}
	if !atOnce.Allows(int64(len(taken)) + 1) {
		return 0, errBusy
	}
	const others = `
		SELECT EXISTS (SELECT 1 FROM builder.builds AS waiting
			WHERE phase = @queued AND namespace <> @namespace AND coalesce(held_until < now(), true) AND NOT EXISTS (
				SELECT 1 FROM builder.builds AS running WHERE phase = @running AND running.namespace = waiting.namespace))`
	var wait bool
	if err := tx.QueryRow(ctx, others, args(id)).Scan(&wait); err != nil {
		return 0, fmt.Errorf("look for builds of others: %w", err)
	}
	if wait {
		return 0, errBusy
	}
	slot := 0
	for slices.Contains(taken, slot) {
		slot++
	}
	return slot, nil
}

// heartbeat says that the worker of an attempt is alive. It answers false when
// the build is no longer its own.
func (d db) heartbeat(ctx context.Context, id image.ID, attempt int) (bool, error) {
	const q = `UPDATE builder.builds SET heartbeat_at = now() WHERE phase = @running AND attempt = @attempt AND` + whereID
	tag, err := d.pool.Exec(ctx, q, with(args(id), pgx.NamedArgs{"attempt": attempt}))
	if err != nil {
		return true, fmt.Errorf("heartbeat: %w", err)
	}
	return tag.RowsAffected() > 0, nil
}

func (d db) step(ctx context.Context, id image.ID, attempt int, step, commit string) error {
	const q = `
		UPDATE builder.builds SET step = @step, commit = @commit
		WHERE phase = @running AND attempt = @attempt AND` + whereID
	_, err := d.pool.Exec(ctx, q, with(args(id), pgx.NamedArgs{"attempt": attempt, "step": step, "commit": commit}))
	if err != nil {
		return fmt.Errorf("set step: %w", err)
	}
	return nil
}

// finish ends a build, or with phase QUEUED gives it back. It does nothing to
// one that is no longer the worker's own, and answers false.
func (d db) finish(ctx context.Context, id image.ID, attempt int, s state) (bool, error) {
	const q = `
		UPDATE builder.builds
		SET phase = @phase::smallint, step = @step, reason = @reason, image = coalesce(nullif(@image, ''), image), commit = @commit, heartbeat_at = NULL,
			ended_at = CASE WHEN @phase::smallint = @queued::smallint THEN NULL ELSE now() END,
			credentials = CASE WHEN @phase::smallint = @queued::smallint THEN credentials END
		WHERE phase = @running AND attempt = @attempt AND` + whereID
	tag, err := d.pool.Exec(ctx, q, with(args(id), pgx.NamedArgs{"attempt": attempt, "phase": s.Phase, "step": s.Step,
		"reason": s.Reason, "image": s.Image, "commit": s.Commit}))
	if err != nil {
		return false, fmt.Errorf("finish build: %w", err)
	}
	return tag.RowsAffected() > 0, nil
}

func (d db) cancel(ctx context.Context, id image.ID) error {
	const q = `
		UPDATE builder.builds
		SET phase = @canceled, reason = 'canceled', ended_at = now(), credentials = NULL
		WHERE phase IN (@queued, @running) AND` + whereID
	if _, err := d.pool.Exec(ctx, q, with(args(id), pgx.NamedArgs{"canceled": builderpb.State_CANCELED})); err != nil {
		return fmt.Errorf("cancel build: %w", err)
	}
	return nil
}

// abandoned queues the builds again whose worker has been silent for so long.
// It answers what is queued without a job: those, and the builds whose worker
// died after it took the job and before it claimed the build.
func (d db) abandoned(ctx context.Context, tx pgx.Tx, silence time.Duration) ([]image.ID, error) {
	const queue = `
		UPDATE builder.builds SET phase = @queued, heartbeat_at = NULL, step = 'waiting for another attempt'
		WHERE phase = @running AND heartbeat_at < now() - @silence::interval`
	a := with(args(image.ID{}), pgx.NamedArgs{"silence": silence})
	if _, err := tx.Exec(ctx, queue, a); err != nil {
		return nil, fmt.Errorf("queue abandoned builds: %w", err)
	}
	// A living worker claims the build at once, or gives the job back.
	const jobless = `
		SELECT namespace, service, version, revision FROM builder.builds
		WHERE phase = @queued AND NOT EXISTS (
			SELECT 1 FROM builder.river_job
			WHERE kind = 'build' AND args @> jsonb_build_object('Namespace', namespace, 'Service', service, 'Version', version, 'Revision', revision)
			  AND (state IN ('available', 'pending', 'retryable', 'scheduled') OR state = 'running' AND attempted_at > now() - @silence::interval))`
	rows, _ := tx.Query(ctx, jobless, a) // CollectRows reports the error
	ids, err := pgx.CollectRows(rows, pgx.RowToStructByName[image.ID])
	if err != nil {
		return nil, fmt.Errorf("find abandoned builds: %w", err)
	}
	return ids, nil
}

// forget deletes the builds that have ended. Empty fields and revision 0 mean
// all.
func (d db) forget(ctx context.Context, id image.ID) error {
	const q = `
		DELETE FROM builder.builds
		WHERE namespace = @namespace AND (@service = '' OR service = @service) AND (@version = '' OR version = @version)
		  AND (@revision = 0 OR revision = @revision) AND phase NOT IN (@queued, @running)`
	if _, err := d.pool.Exec(ctx, q, args(id)); err != nil {
		return fmt.Errorf("forget builds: %w", err)
	}
	return nil
}

func (d db) appendLog(ctx context.Context, id image.ID, data []byte) error {
	const q = `
		INSERT INTO builder.logs (namespace, service, version, revision, data)
		VALUES (@namespace, @service, @version, @revision, @data)`
	if _, err := d.pool.Exec(ctx, q, with(args(id), pgx.NamedArgs{"data": data})); err != nil {
		return fmt.Errorf("append to log: %w", err)
	}
	return nil
}

type piece struct {
	Seq  int64
	Data []byte
}

// logs answers the next pieces of a log after the one with number seq.
func (d db) logs(ctx context.Context, id image.ID, seq int64) ([]piece, error) {
	const q = `SELECT seq, data FROM builder.logs WHERE` + whereID + `AND seq > @seq ORDER BY seq LIMIT 64`
	rows, _ := d.pool.Query(ctx, q, with(args(id), pgx.NamedArgs{"seq": seq})) // CollectRows reports the error
	pieces, err := pgx.CollectRows(rows, pgx.RowToStructByName[piece])
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	return pieces, nil
}
