package runtime

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/quota"
)

// key names a service.
type key struct {
	Namespace string
	Name      string
	Version   string
}

// String is also the payload of the notifications of changes.
func (k key) String() string { return k.Namespace + "/" + k.Name + "/" + k.Version }

// record is what is wanted of a service.
type record struct {
	Source   string
	Spec     []byte
	Metadata map[string]string
	Owner    string
}

// existing is the record of a service that is there.
type existing struct {
	record
	Last    int64 // the newest revision
	Deleted bool
	State   state // of the newest revision
}

// plan is what a request makes of a service.
type plan struct {
	record
	Upload    string // the source in the bucket, for uploads
	Start     bool   // a new revision
	Instances int64  // of the new revision
	News      string // type of the event that tells of it
	From      *copied
}

// copied is what a new revision takes from one that was built before.
type copied struct {
	Image, Commit string
	Build         int64 // the revision that it was built for
}

// request is the idempotency key of a request and what it asked for.
type request struct {
	Key  string
	Hash []byte
}

// view is a service as readers see it: the record and its newest revision.
type view struct {
	key
	Source    string
	Metadata  map[string]string
	Owner     string
	StartedAt time.Time
	Deleted   bool
	Number    int64
	State     state
	Reason    string
	Since     time.Time
	Image     string
	Commit    string
	LastExit  string
	Restarts  int64 // containers that ended unasked
	CrashedAt time.Time
	LastCrash string // why
	Serving   int64  // the revision that serves, 0 if none does
	Instances int64  // that are wanted
	Ready     int64  // instances of the revision that serves, that answer
}

// revision is one attempt to build and run a service.
type revision struct {
	key
	Number    int64
	State     state
	Reason    string
	Since     time.Time
	CreatedAt time.Time
	Author    string
	Source    string
	Spec      []byte
	Upload    string
	Image     string
	Commit    string
	Build     int64 // the revision whose image this is, 0 for its own
	Account   string
	Secret    []byte
	Instances int64 // that are wanted, 0 what the spec says
	Ready     int64 // that answer
	LastExit  string
	Restarts  int64 // containers that ended unasked
	CrashedAt time.Time
	Ran       bool // since its containers were last started from nothing
	Held      bool // it must not run now
	Tail      string
}

type db struct{ pool *pgxpool.Pool }

// lock makes the changes of a namespace wait for each other.
func lock(ctx context.Context, tx pgx.Tx, namespace string) error {
	const q = `SELECT pg_advisory_xact_lock(hashtextextended('runtime namespace ' || $1, 0))`
	if _, err := tx.Exec(ctx, q, namespace); err != nil {
		return fmt.Errorf("lock namespace: %w", err)
	}
	return nil
}

// change lets decide say what becomes of a service, given what is there or
// nil, and writes it down. It answers the new revision, 0 for none. A request
// that was answered before is answered the same and changes nothing.
func (d db) change(ctx context.Context, k key, req request, limit int, decide func(old *existing) (plan, error)) (number int64, err error) {
	err = pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		if err := lock(ctx, tx, k.Namespace); err != nil {
			return err
		}
		var done bool
		if number, done, err = answered(ctx, tx, k.Namespace, req); err != nil || done {
			return err
		}
		old, err := find(ctx, tx, k)
		if err != nil {
			return err
		}
		if old == nil {
			if err := checkRoom(ctx, tx, k.Namespace, limit); err != nil {
				return err
			}
		}
		p, err := decide(old)
		if err != nil {
			return err
		}
		if number, err = save(ctx, tx, k, p); err != nil {
			return err
		}
		if err := tell(ctx, tx, k, p.News, p.Source, p.Metadata); err != nil {
			return err
		}
		return remember(ctx, tx, k.Namespace, req, number)
	})
	return number, err
}

func answered(ctx context.Context, tx pgx.Tx, namespace string, req request) (number int64, done bool, err error) {
	if req.Key == "" {
		return 0, false, nil
	}
	const q = `SELECT hash, revision FROM runtime.requests WHERE namespace = $1 AND key = $2`
	var hash []byte
	err = tx.QueryRow(ctx, q, namespace, req.Key).Scan(&hash, &number)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("look for request: %w", err)
	}
	if !bytes.Equal(hash, req.Hash) {
		return 0, false, errors.NewHTTP(422, "idempotency key %q was used with a different request", errors.Clip(req.Key))
	}
	return number, true, nil
}

func remember(ctx context.Context, tx pgx.Tx, namespace string, req request, number int64) error {
	if req.Key == "" {
		return nil
	}
	const q = `INSERT INTO runtime.requests (namespace, key, hash, revision) VALUES ($1, $2, $3, $4)`
	if _, err := tx.Exec(ctx, q, namespace, req.Key, req.Hash, number); err != nil {
		return fmt.Errorf("remember request: %w", err)
	}
	return nil
}

func find(ctx context.Context, tx pgx.Tx, k key) (*existing, error) {
	const q = `
		SELECT s.source, s.spec, s.metadata, s.owner, s.last_revision AS last, s.deleted_at IS NOT NULL AS deleted,
			coalesce(r.state, '') AS state
		FROM runtime.services s
		LEFT JOIN runtime.revisions r ON r.namespace = s.namespace AND r.name = s.name AND r.version = s.version AND r.number = s.last_revision
		WHERE s.namespace = $1 AND s.name = $2 AND s.version = $3`
	rows, _ := tx.Query(ctx, q, k.Namespace, k.Name, k.Version)
	old, err := pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByName[existing])
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find service: %w", err)
	}
	return old, nil
}

func checkRoom(ctx context.Context, tx pgx.Tx, namespace string, limit int) error {
	const q = `SELECT count(*) FROM runtime.services WHERE namespace = $1`
	var n int
	if err := tx.QueryRow(ctx, q, namespace).Scan(&n); err != nil {
		return fmt.Errorf("count services: %w", err)
	}
	if n >= limit {
		return errors.New(codes.ResourceExhausted, "the namespace has %d services, and may have %d: delete one first, or raise the limit \"services\" with a larger plan (\"micro plan\" lists them)", n, limit).
			Because(&quota.Reached{Policy: "services", Most: int64(limit)})
	}
	return nil
}

// save writes the record and, if one is to start, the next revision. What was
// on its way to running makes place for it; what runs goes on, also where it is
// being built again.
func save(ctx context.Context, tx pgx.Tx, k key, p plan) (int64, error) {
	const upsert = `
		INSERT INTO runtime.services (namespace, name, version, source, spec, metadata, owner, last_revision)
		VALUES (@namespace, @name, @version, @source, @spec, @metadata, @owner, @step)
		ON CONFLICT (namespace, name, version) DO UPDATE
		SET source = @source, spec = @spec, metadata = @metadata, owner = @owner, started_at = now(), deleted_at = NULL,
			last_revision = services.last_revision + @step
		RETURNING last_revision`
	args := pgx.NamedArgs{"namespace": k.Namespace, "name": k.Name, "version": k.Version,
		"source": p.Source, "spec": p.Spec, "metadata": p.Metadata, "owner": p.Owner, "upload": p.Upload, "step": 0}
	if p.Start {
		args["step"] = 1
	}
	var number int64
	if err := tx.QueryRow(ctx, upsert, args).Scan(&number); err != nil {
		return 0, fmt.Errorf("save service: %w", err)
	}
	if !p.Start {
		return 0, nil
	}
	const replace = `
		UPDATE runtime.revisions SET state = 'stopping', since = now(), reason = 'replaced by revision ' || @number::bigint
		WHERE namespace = @namespace AND name = @name AND version = @version AND state = ANY(@underway) AND ran_at IS NULL`
	const insert = `
		INSERT INTO runtime.revisions (namespace, name, version, number, state, source, spec, upload, author, instances, image, commit, build)
		VALUES (@namespace, @name, @version, @number, @state, @source, @spec, @upload, @owner, @instances, @image, @commit, @build)`
	args["underway"] = []state{pending, building, starting}
	args["number"], args["instances"] = number, p.Instances
	args["state"], args["image"], args["commit"], args["build"] = pending, "", "", 0
	if f := p.From; f != nil {
		args["image"], args["commit"], args["build"] = f.Image, f.Commit, f.Build
		if f.Image != "" { // else it is being built again
			args["state"] = starting
		}
	}
	if _, err := tx.Exec(ctx, replace, args); err != nil {
		return 0, fmt.Errorf("replace revisions: %w", err)
	}
	if _, err := tx.Exec(ctx, insert, args); err != nil {
		return 0, fmt.Errorf("insert revision: %w", err)
	}
	return number, nil
}

// remove marks a service as deleted and all of its revisions as stopping.
func (d db) remove(ctx context.Context, k key) error {
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		if err := lock(ctx, tx, k.Namespace); err != nil {
			return err
		}
		const mark = `
			UPDATE runtime.services SET deleted_at = coalesce(deleted_at, now())
			WHERE namespace = $1 AND name = $2 AND version = $3`
		tag, err := tx.Exec(ctx, mark, k.Namespace, k.Name, k.Version)
		if err != nil {
			return fmt.Errorf("delete service: %w", err)
		}
		if tag.RowsAffected() == 0 {
			return errNotFound
		}
		const stop = `
			UPDATE runtime.revisions SET state = 'stopping', since = now(), reason = 'deleted'
			WHERE namespace = $1 AND name = $2 AND version = $3 AND state = ANY($4)`
		if _, err := tx.Exec(ctx, stop, k.Namespace, k.Name, k.Version, dismissed.from()); err != nil {
			return fmt.Errorf("stop revisions: %w", err)
		}
		return tell(ctx, tx, k, serviceDeleted, "", nil)
	})
}

// errNotFound is for whoever asks for a service that is not there; the text is
// the one that existing clients print.
var errNotFound = errors.New(codes.NotFound, "not found")

// maxRead bounds what one Read answers; a namespace has fewer.
const maxRead = 1000

// read answers the services that match; empty name or version match all.
func (d db) read(ctx context.Context, k key) ([]view, error) {
	const q = `
		SELECT s.namespace, s.name, s.version, s.source, s.metadata, s.owner, s.started_at, s.deleted_at IS NOT NULL AS deleted,
			r.number, r.state, r.reason, r.since, r.image, r.commit, r.last_exit,
			r.restarts, coalesce(r.crashed_at, 'epoch') AS crashed_at, coalesce(c.reason, '') AS last_crash,
			r.instances, coalesce(l.number, 0) AS serving, coalesce(l.ready, 0) AS ready
		FROM runtime.services s
		JOIN runtime.revisions r ON r.namespace = s.namespace AND r.name = s.name AND r.version = s.version AND r.number = s.last_revision
		LEFT JOIN LATERAL (
			SELECT number, ready FROM runtime.revisions v
			WHERE v.namespace = s.namespace AND v.name = s.name AND v.version = s.version
				AND (v.state = 'running' OR v.ran_at IS NOT NULL AND v.ready > 0 AND v.account <> '' AND v.state NOT IN ('stopping', 'stopped'))
			ORDER BY number DESC
			LIMIT 1) l ON true
		LEFT JOIN LATERAL (
			SELECT reason FROM runtime.crashes x
			WHERE x.namespace = s.namespace AND x.name = s.name AND x.version = s.version AND x.revision = r.number AND NOT x.asked
			ORDER BY at DESC
			LIMIT 1) c ON true
		WHERE s.namespace = $1 AND ($2 = '' OR s.name = $2) AND ($3 = '' OR s.version = $3)
		ORDER BY s.name, s.version
		LIMIT $4`
	rows, _ := d.pool.Query(ctx, q, k.Namespace, k.Name, k.Version, maxRead)
	out, err := pgx.CollectRows(rows, pgx.RowToStructByName[view])
	if err != nil {
		return nil, fmt.Errorf("read services: %w", err)
	}
	return out, nil
}

// wanted answers the record of a service, nil if there is none any more.
func (d db) wanted(ctx context.Context, k key) (*record, error) {
	const q = `
		SELECT source, spec, metadata, owner
		FROM runtime.services
		WHERE namespace = $1 AND name = $2 AND version = $3 AND deleted_at IS NULL`
	rows, _ := d.pool.Query(ctx, q, k.Namespace, k.Name, k.Version)
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByName[record])
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read service: %w", err)
	}
	return r, nil
}

const revisionColumns = `namespace, name, version, number, state, reason, since, created_at, author, source, spec, upload, image, commit, build,
	account, secret, instances, ready, last_exit, restarts, coalesce(crashed_at, 'epoch') AS crashed_at,
	ran_at IS NOT NULL AS ran, held, tail`

// revisions answers a service's revisions, newest first, without those that
// were forgotten.
func (d db) revisions(ctx context.Context, k key) ([]revision, error) {
	const q = `
		SELECT ` + revisionColumns + `
		FROM runtime.revisions
		WHERE namespace = $1 AND name = $2 AND version = $3
		ORDER BY number DESC
		LIMIT 100`
	rows, _ := d.pool.Query(ctx, q, k.Namespace, k.Name, k.Version)
	out, err := pgx.CollectRows(rows, pgx.RowToStructByName[revision])
	if err != nil {
		return nil, fmt.Errorf("read revisions: %w", err)
	}
	return out, nil
}

// revision answers one revision, or NotFound.
func (d db) revision(ctx context.Context, k key, number int64) (revision, error) {
	const q = `
		SELECT ` + revisionColumns + `
		FROM runtime.revisions
		WHERE namespace = $1 AND name = $2 AND version = $3 AND number = $4`
	rows, _ := d.pool.Query(ctx, q, k.Namespace, k.Name, k.Version, number)
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[revision])
	if errors.Is(err, pgx.ErrNoRows) {
		return r, errNotFound
	}
	if err != nil {
		return r, fmt.Errorf("read revision: %w", err)
	}
	return r, nil
}

// scale changes how many instances are wanted of a service, in its record, whose
// spec change makes anew, and in every revision that has or will have some.
func (d db) scale(ctx context.Context, k key, instances int64, change func(spec []byte) ([]byte, error)) error {
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		if err := lock(ctx, tx, k.Namespace); err != nil {
			return err
		}
		old, err := find(ctx, tx, k)
		if err != nil {
			return err
		}
		if old == nil || old.Deleted {
			return errNotFound
		}
		spec, err := change(old.Spec)
		if err != nil {
			return err
		}
		const record = `UPDATE runtime.services SET spec = $4 WHERE namespace = $1 AND name = $2 AND version = $3`
		if _, err := tx.Exec(ctx, record, k.Namespace, k.Name, k.Version, spec); err != nil {
			return fmt.Errorf("scale service: %w", err)
		}
		const revisions = `
			UPDATE runtime.revisions SET instances = $4
			WHERE namespace = $1 AND name = $2 AND version = $3 AND state NOT IN ('stopping', 'stopped')`
		if _, err := tx.Exec(ctx, revisions, k.Namespace, k.Name, k.Version, instances); err != nil {
			return fmt.Errorf("scale revisions: %w", err)
		}
		return tell(ctx, tx, k, serviceUpdated, old.Source, old.Metadata)
	})
}

// leaving is a service that is to go, or is going already.
type leaving struct {
	key
	Deleted bool
}

// services answers services of a namespace, first those that are to go.
func (d db) services(ctx context.Context, namespace string, limit int) ([]leaving, error) {
	const q = `
		SELECT namespace, name, version, deleted_at IS NOT NULL AS deleted
		FROM runtime.services
		WHERE namespace = $1
		ORDER BY deleted, name, version
		LIMIT $2`
	rows, _ := d.pool.Query(ctx, q, namespace, limit) // CollectRows reports the error
	out, err := pgx.CollectRows(rows, pgx.RowToStructByName[leaving])
	if err != nil {
		return nil, fmt.Errorf("list services: %w", err)
	}
	return out, nil
}
