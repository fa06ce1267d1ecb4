package runtime

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// This file has the SQL of the reconciler; that of requests is in postgres.go,
// that of uploads in postgres_uploads.go.

// item is something to be done for a revision or, with number 0, for a service
// that was deleted.
type item struct {
	key
	Number int64
	State  state
	Orphan bool `db:"-"` // a deployment that no revision owns
}

// work answers what is to be done, namespaces in turn, so that one with much
// to do does not hold up the others. What waits for its last calls does not hold
// up what is to start.
func (d db) work(ctx context.Context, perNamespace, limit int) ([]item, error) {
	const q = `
		WITH revisions AS (
			SELECT namespace, name, version, number, state, since, state = 'stopping' OR held AS last
			FROM runtime.revisions
			WHERE state IN ('pending', 'building', 'stopping') OR state = 'starting' AND (NOT held OR account <> '')
				OR state = 'error' AND account <> '' AND ran_at IS NULL
		), deleted AS (
			SELECT namespace, name, version, 0 AS number, 'stopped' AS state, deleted_at AS since, false AS last
			FROM runtime.services s
			WHERE deleted_at IS NOT NULL AND NOT EXISTS (
				SELECT FROM runtime.revisions r
				WHERE r.namespace = s.namespace AND r.name = s.name AND r.version = s.version AND r.state <> 'stopped')
		), turns AS (
			SELECT *, row_number() OVER (PARTITION BY namespace ORDER BY last, since, name, version, number) AS turn
			FROM (SELECT * FROM revisions UNION ALL SELECT * FROM deleted) AS todo
		)
		SELECT namespace, name, version, number, state
		FROM turns
		WHERE turn <= $1
		ORDER BY turn, since, namespace, name, version, number
		LIMIT $2`
	rows, _ := d.pool.Query(ctx, q, perNamespace, limit)
	out, err := pgx.CollectRows(rows, pgx.RowToStructByName[item])
	if err != nil {
		return nil, fmt.Errorf("look for work: %w", err)
	}
	return out, nil
}

// maxReason bounds the reasons that are kept: a compiler may have much to say,
// and all of it is in the build's log.
const maxReason = 8 << 10

// storable makes of a text from outside one that Postgres takes: valid UTF-8
// without NUL, at most limit bytes.
func storable(text string, limit int) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "�"), "\x00", "")
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "")
	}
	return text
}

// move takes a revision from one state to the next. It does nothing when the
// revision has meanwhile been taken elsewhere. set may name columns that change
// with the state.
func (d db) move(ctx context.Context, r revision, e event, reason string, set pgx.NamedArgs) error {
	to, err := r.State.next(e)
	if err != nil {
		return err
	}
	const q = `
		UPDATE runtime.revisions
		SET state = @to, reason = @reason, since = now(),
			image = coalesce(@image, image), commit = coalesce(@commit, commit), tail = coalesce(@tail, tail),
			ran_at = CASE WHEN @lost THEN NULL ELSE ran_at END,
			ready = CASE WHEN @lost THEN 0 ELSE ready END,
			account = CASE WHEN @to = 'stopped' THEN '' ELSE account END,
			secret = CASE WHEN @to = 'stopped' THEN NULL ELSE secret END
		WHERE namespace = @namespace AND name = @name AND version = @version AND number = @number AND state = @from`
	args := pgx.NamedArgs{"namespace": r.Namespace, "name": r.Name, "version": r.Version, "number": r.Number,
		"from": r.State, "to": to, "lost": e == lost, "reason": storable(reason, maxReason), "image": nil, "commit": nil, "tail": nil}
	for k, v := range set {
		args[k] = v
	}
	if _, err := d.pool.Exec(ctx, q, args); err != nil {
		return fmt.Errorf("move revision to %s: %w", to, err)
	}
	return nil
}

// rebuildAfter is how long an image that was built again has to last before it is
// built once more.
const rebuildAfter = 10 * time.Minute

// unbuild sends a revision back to the builder, and answers false if that was
// done lately. Those of its instances that answer go on serving.
func (d db) unbuild(ctx context.Context, r revision, reason string) (bool, error) {
	to, err := r.State.next(unbuilt)
	if err != nil {
		return false, err
	}
	const q = `
		UPDATE runtime.revisions
		SET state = @to, reason = @reason, since = now(), image = '', unbuilt_at = now()
		WHERE namespace = @namespace AND name = @name AND version = @version AND number = @number AND state = @from
		  AND (unbuilt_at IS NULL OR unbuilt_at < now() - @after::interval)`
	tag, err := d.pool.Exec(ctx, q, pgx.NamedArgs{"namespace": r.Namespace, "name": r.Name, "version": r.Version, "number": r.Number,
		"from": r.State, "to": to, "reason": reason, "after": rebuildAfter})
	if err != nil {
		return false, fmt.Errorf("move revision to %s: %w", to, err)
	}
	return tag.RowsAffected() > 0, nil
}

// promote makes a revision of which so many instances answer the one that serves,
// and lets go of those before it.
func (d db) promote(ctx context.Context, r revision, ready int) error {
	to, err := r.State.next(healthy)
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		if err := lock(ctx, tx, r.Namespace); err != nil {
			return err
		}
		args := pgx.NamedArgs{"namespace": r.Namespace, "name": r.Name, "version": r.Version, "number": r.Number,
			"from": r.State, "to": to, "ready": ready, "live": dismissed.from()}
		const up = `
			UPDATE runtime.revisions SET state = @to, reason = '', since = now(), ran_at = now(), ready = @ready
			WHERE namespace = @namespace AND name = @name AND version = @version AND number = @number AND state = @from`
		tag, err := tx.Exec(ctx, up, args)
		if err != nil {
			return fmt.Errorf("promote revision: %w", err)
		}
		if tag.RowsAffected() == 0 {
			return nil // it was deleted or replaced meanwhile
		}
		const down = `
			UPDATE runtime.revisions SET state = 'stopping', since = now(), reason = 'replaced by revision ' || @number::bigint
			WHERE namespace = @namespace AND name = @name AND version = @version AND number < @number
			  AND state = ANY(@live) AND (state <> 'error' OR account <> '')`
		if _, err := tx.Exec(ctx, down, args); err != nil {
			return fmt.Errorf("dismiss revisions: %w", err)
		}
		return nil
	})
}

// note says in a revision's reason what is being done or waited for.
func (d db) note(ctx context.Context, r revision, reason string) error {
	const q = `
		UPDATE runtime.revisions SET reason = @reason
		WHERE namespace = @namespace AND name = @name AND version = @version AND number = @number AND state = @state AND reason <> @reason`
	_, err := d.pool.Exec(ctx, q, pgx.NamedArgs{"namespace": r.Namespace, "name": r.Name, "version": r.Version,
		"number": r.Number, "state": r.State, "reason": storable(reason, maxReason)})
	if err != nil {
		return fmt.Errorf("note reason: %w", err)
	}
	return nil
}

// seen writes down what was seen of a revision's deployment. wanted is taken over
// where nobody has said it.
func (d db) seen(ctx context.Context, r revision, reason, lastExit string, ready int, wanted int64) error {
	reason, lastExit = storable(reason, maxReason), storable(lastExit, maxReason)
	if reason == r.Reason && lastExit == r.LastExit && int64(ready) == r.Ready && r.Instances != 0 {
		return nil
	}
	const q = `
		UPDATE runtime.revisions SET reason = @reason, last_exit = @last_exit, ready = @ready, instances = coalesce(nullif(instances, 0), @wanted)
		WHERE namespace = @namespace AND name = @name AND version = @version AND number = @number AND state = @state`
	_, err := d.pool.Exec(ctx, q, pgx.NamedArgs{"namespace": r.Namespace, "name": r.Name, "version": r.Version,
		"number": r.Number, "state": r.State, "reason": reason, "last_exit": lastExit, "ready": ready, "wanted": wanted})
	if err != nil {
		return fmt.Errorf("note what was seen of a deployment: %w", err)
	}
	return nil
}

// deleted says whether a service was deleted.
func (d db) deleted(ctx context.Context, k key) (bool, error) {
	const q = `
		SELECT EXISTS (
			SELECT FROM runtime.services
			WHERE namespace = $1 AND name = $2 AND version = $3 AND deleted_at IS NOT NULL)`
	var is bool
	if err := d.pool.QueryRow(ctx, q, k.Namespace, k.Name, k.Version).Scan(&is); err != nil {
		return false, fmt.Errorf("look whether %s was deleted: %w", k, err)
	}
	return is, nil
}

// setAccount writes down the account that is about to be made for a revision
// that is starting and has none.
func (d db) setAccount(ctx context.Context, r revision, account string, secret []byte) error {
	const q = `
		UPDATE runtime.revisions SET account = @account, secret = @secret
		WHERE namespace = @namespace AND name = @name AND version = @version AND number = @number AND account = '' AND state = 'starting'`
	_, err := d.pool.Exec(ctx, q, pgx.NamedArgs{"namespace": r.Namespace, "name": r.Name, "version": r.Version,
		"number": r.Number, "account": account, "secret": secret})
	if err != nil {
		return fmt.Errorf("set account of revision: %w", err)
	}
	return nil
}

// clearAccount says that nothing of a failed revision is left.
func (d db) clearAccount(ctx context.Context, r revision) error {
	const q = `
		UPDATE runtime.revisions SET account = '', secret = NULL
		WHERE namespace = $1 AND name = $2 AND version = $3 AND number = $4 AND state = 'error'`
	if _, err := d.pool.Exec(ctx, q, r.Namespace, r.Name, r.Version, r.Number); err != nil {
		return fmt.Errorf("clear account of revision: %w", err)
	}
	return nil
}

// forget removes a deleted service that nothing is left of. It does nothing if
// the service was created again.
func (d db) forget(ctx context.Context, k key) error {
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		if err := lock(ctx, tx, k.Namespace); err != nil {
			return err
		}
		const q = `
			DELETE FROM runtime.services s
			WHERE namespace = $1 AND name = $2 AND version = $3 AND deleted_at IS NOT NULL AND NOT EXISTS (
				SELECT FROM runtime.revisions r
				WHERE r.namespace = s.namespace AND r.name = s.name AND r.version = s.version AND r.state <> 'stopped')`
		if _, err := tx.Exec(ctx, q, k.Namespace, k.Name, k.Version); err != nil {
			return fmt.Errorf("forget service: %w", err)
		}
		return nil
	})
}

// deployed answers the revisions that have or should have a deployment and are
// not being worked on: those that run, and those that crashed after they ran.
func (d db) deployed(ctx context.Context) ([]revision, error) {
	const q = `
		SELECT ` + revisionColumns + `
		FROM runtime.revisions
		WHERE state = 'running' OR state = 'error' AND account <> '' AND ran_at IS NOT NULL
		ORDER BY namespace, name, version, number`
	rows, _ := d.pool.Query(ctx, q)
	out, err := pgx.CollectRows(rows, pgx.RowToStructByName[revision])
	if err != nil {
		return nil, fmt.Errorf("read deployed revisions: %w", err)
	}
	return out, nil
}

// noteRunning says in the reason of every revision that runs what keeps it from
// being looked after.
func (d db) noteRunning(ctx context.Context, reason string) error {
	const q = `UPDATE runtime.revisions SET reason = $1 WHERE state = 'running' AND reason <> $1`
	if _, err := d.pool.Exec(ctx, q, reason); err != nil {
		return fmt.Errorf("note reason of running revisions: %w", err)
	}
	return nil
}

// old answers revisions that ended, and are neither among the last keep of their
// service nor among the last keep that ran.
func (d db) old(ctx context.Context, keep, limit int) ([]revision, error) {
	const q = `
		SELECT ` + revisionColumns + `
		FROM runtime.revisions r
		WHERE state IN ('stopped', 'error') AND account = '' AND number <= (
			SELECT last_revision FROM runtime.services s
			WHERE s.namespace = r.namespace AND s.name = r.name AND s.version = r.version) - $1
		  AND (ran_at IS NULL OR number NOT IN (
			SELECT k.number FROM runtime.revisions k
			WHERE k.namespace = r.namespace AND k.name = r.name AND k.version = r.version
			  AND k.state IN ('stopped', 'error') AND k.account = '' AND k.ran_at IS NOT NULL
			ORDER BY k.number DESC
			LIMIT $1))
		ORDER BY namespace, name, version, number
		LIMIT $2`
	rows, _ := d.pool.Query(ctx, q, keep, limit)
	out, err := pgx.CollectRows(rows, pgx.RowToStructByName[revision])
	if err != nil {
		return nil, fmt.Errorf("look for old revisions: %w", err)
	}
	return out, nil
}

// shared says whether another revision runs the image of one, too.
func (d db) shared(ctx context.Context, r revision) (bool, error) {
	const q = `
		SELECT EXISTS (
			SELECT FROM runtime.revisions
			WHERE namespace = @namespace AND name = @name AND version = @version AND number <> @number
			  AND coalesce(nullif(build, 0), number) = @build)`
	var is bool
	err := d.pool.QueryRow(ctx, q, pgx.NamedArgs{"namespace": r.Namespace, "name": r.Name, "version": r.Version,
		"number": r.Number, "build": r.builtAs()}).Scan(&is)
	if err != nil {
		return false, fmt.Errorf("look for revisions of the same build: %w", err)
	}
	return is, nil
}

// drop removes a revision that ended.
func (d db) drop(ctx context.Context, r revision) error {
	const q = `
		DELETE FROM runtime.revisions
		WHERE namespace = $1 AND name = $2 AND version = $3 AND number = $4 AND state IN ('stopped', 'error') AND account = ''`
	if _, err := d.pool.Exec(ctx, q, r.Namespace, r.Name, r.Version, r.Number); err != nil {
		return fmt.Errorf("drop revision: %w", err)
	}
	return nil
}

// dropRequests forgets the idempotency keys of before.
func (d db) dropRequests(ctx context.Context, before time.Time) error {
	const q = `DELETE FROM runtime.requests WHERE created_at < $1`
	if _, err := d.pool.Exec(ctx, q, before); err != nil {
		return fmt.Errorf("drop old requests: %w", err)
	}
	return nil
}

// hold takes a revision back to before its start, and keeps it from starting.
// What runs of it is to be removed.
func (d db) hold(ctx context.Context, r revision, why string) error {
	const q = `
		UPDATE runtime.revisions SET state = 'starting', held = true, reason = @reason, since = now(), ran_at = NULL, ready = 0
		WHERE namespace = @namespace AND name = @name AND version = @version AND number = @number AND state = @from`
	_, err := d.pool.Exec(ctx, q, pgx.NamedArgs{"namespace": r.Namespace, "name": r.Name, "version": r.Version,
		"number": r.Number, "from": r.State, "reason": storable(why, maxReason)})
	if err != nil {
		return fmt.Errorf("hold revision: %w", err)
	}
	return nil
}

// rest says that nothing is left of a revision that is held but its image.
func (d db) rest(ctx context.Context, r revision, why string) error {
	const q = `
		UPDATE runtime.revisions SET account = '', secret = NULL, reason = @reason
		WHERE namespace = @namespace AND name = @name AND version = @version AND number = @number AND state = 'starting' AND held`
	_, err := d.pool.Exec(ctx, q, pgx.NamedArgs{"namespace": r.Namespace, "name": r.Name, "version": r.Version,
		"number": r.Number, "reason": storable(why, maxReason)})
	if err != nil {
		return fmt.Errorf("note that a revision rests: %w", err)
	}
	return nil
}

// held answers the revisions that are kept from starting and of which nothing
// runs any more.
func (d db) held(ctx context.Context) ([]revision, error) {
	const q = `
		SELECT ` + revisionColumns + `
		FROM runtime.revisions
		WHERE state = 'starting' AND held AND account = ''
		ORDER BY namespace, name, version, number`
	rows, _ := d.pool.Query(ctx, q)
	out, err := pgx.CollectRows(rows, pgx.RowToStructByName[revision])
	if err != nil {
		return nil, fmt.Errorf("read held revisions: %w", err)
	}
	return out, nil
}

// release lets a held revision start.
func (d db) release(ctx context.Context, r revision) error {
	const q = `
		UPDATE runtime.revisions SET held = false, reason = 'starting', since = now()
		WHERE namespace = $1 AND name = $2 AND version = $3 AND number = $4 AND held`
	if _, err := d.pool.Exec(ctx, q, r.Namespace, r.Name, r.Version, r.Number); err != nil {
		return fmt.Errorf("release revision: %w", err)
	}
	return nil
}
