package registry

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Removing nodes, for whatever reason. All do it the same way: lock
// the versions, which registrations lock too, remove the nodes, and with them
// versions that have none left. In one statement a version could go under a
// node that was just being registered.

// deregister removes nodes by their ids, of one account only unless that is "".
func (d db) deregister(ctx context.Context, k key, account string, ids []string) error {
	const nodes = `
		DELETE FROM registry.nodes
		WHERE namespace = $1 AND service = $2 AND version = $3 AND id = ANY($4) AND ($5 = '' OR account = $5)`
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		locked, err := lockVersions(ctx, tx, `(v.namespace, v.service, v.version) = ($1, $2, $3)`, "", k.Namespace, k.Service, k.Version)
		if err != nil {
			return err
		}
		return removeNodes(ctx, tx, locked, nodes, k.Namespace, k.Service, k.Version, ids, account)
	})
}

// ofAccount is SQL for versions with nodes of an account.
const ofAccount = `
	(v.namespace, v.service, v.version) IN (
		SELECT n.namespace, n.service, n.version FROM registry.nodes n WHERE n.namespace = $1 AND n.account = $2)`

// evict removes the nodes of an account, and refuses further ones.
func (d db) evict(ctx context.Context, namespace, account string) error {
	const refuse = `
		INSERT INTO registry.evictions (namespace, account) VALUES ($1, $2)
		ON CONFLICT (namespace, account) DO UPDATE SET evicted_at = now()`
	const nodes = `DELETE FROM registry.nodes WHERE namespace = $1 AND account = $2`
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		if err := lockAccount(ctx, tx, namespace, account); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, refuse, namespace, account); err != nil {
			return fmt.Errorf("put eviction: %w", err)
		}
		locked, err := lockVersions(ctx, tx, ofAccount, "", namespace, account)
		if err != nil {
			return err
		}
		return removeNodes(ctx, tx, locked, nodes, namespace, account)
	})
}

// end removes the nodes at an address that were registered until a moment, or until
// so long ago.
func (d db) end(ctx context.Context, namespace, host string, at time.Time, ago time.Duration) error {
	const there = `
		namespace = $1 AND split_part(address, ':', 1) = $2
		AND registered_at <= CASE WHEN $4::interval > '0' THEN now() - $4::interval ELSE $3 END`
	const versions = `(v.namespace, v.service, v.version) IN (SELECT namespace, service, version FROM registry.nodes WHERE ` + there + `)`
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		locked, err := lockVersions(ctx, tx, versions, "", namespace, host, at, ago)
		if err != nil {
			return err
		}
		return removeNodes(ctx, tx, locked, `DELETE FROM registry.nodes WHERE `+there, namespace, host, at, ago)
	})
}

// sweepBatch bounds one transaction of the sweeper, in versions.
const sweepBatch = 500

// sweep removes nodes whose time is up and says how many versions had some.
// Several processes may sweep at once: each takes what no other has.
func (d db) sweep(ctx context.Context) (n int, err error) {
	const expired = `
		(v.namespace, v.service, v.version) IN (
			SELECT n.namespace, n.service, n.version FROM registry.nodes n WHERE n.expires_at <= now() ORDER BY n.expires_at LIMIT $1)`
	const nodes = `
		DELETE FROM registry.nodes
		WHERE expires_at <= now() AND (namespace, service, version) IN (SELECT * FROM unnest($1::text[], $2::text[], $3::text[]))`
	err = pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		locked, err := lockVersions(ctx, tx, expired, "SKIP LOCKED", sweepBatch)
		if err != nil {
			return err
		}
		n = len(locked)
		namespaces, services, versions := columns(locked)
		return removeNodes(ctx, tx, locked, nodes, namespaces, services, versions)
	})
	return n, err
}

// lockVersions locks versions in one order, so that two of these never wait for
// each other.
func lockVersions(ctx context.Context, tx pgx.Tx, where, wait string, args ...any) ([]key, error) {
	q := `
		SELECT v.namespace, v.service, v.version FROM registry.versions v
		WHERE ` + where + `
		ORDER BY v.namespace, v.service, v.version
		FOR UPDATE ` + wait
	rows, _ := tx.Query(ctx, q, args...) // CollectRows reports the error
	keys, err := pgx.CollectRows(rows, pgx.RowToStructByName[key])
	if err != nil {
		return nil, fmt.Errorf("lock versions: %w", err)
	}
	return keys, nil
}

// removeNodes removes nodes of locked versions, by a DELETE, and tells.
func removeNodes(ctx context.Context, tx pgx.Tx, locked []key, nodes string, args ...any) error {
	if len(locked) == 0 {
		return nil
	}
	const returning = ` RETURNING namespace, service, version`
	rows, _ := tx.Query(ctx, nodes+returning, args...) // CollectRows reports the error
	removed, err := pgx.CollectRows(rows, pgx.RowToStructByName[key])
	if err != nil {
		return fmt.Errorf("remove nodes: %w", err)
	}
	const empty = `
		DELETE FROM registry.versions v
		WHERE (v.namespace, v.service, v.version) IN (SELECT * FROM unnest($1::text[], $2::text[], $3::text[]))
		  AND NOT EXISTS (SELECT 1 FROM registry.nodes n WHERE n.namespace = v.namespace AND n.service = v.service AND n.version = v.version)`
	namespaces, services, versions := columns(locked)
	if _, err := tx.Exec(ctx, empty, namespaces, services, versions); err != nil {
		return fmt.Errorf("remove empty versions: %w", err)
	}
	told := map[key]bool{}
	for _, k := range removed {
		if !told[k] {
			told[k] = true
			if err := notify(ctx, tx, change{key: k}); err != nil {
				return err
			}
		}
	}
	return nil
}

// forgetEvictions drops what is older than any process that could still try.
func (d db) forgetEvictions(ctx context.Context, age time.Duration) error {
	const q = `DELETE FROM registry.evictions WHERE evicted_at < now() - make_interval(secs => $1)`
	if _, err := d.pool.Exec(ctx, q, age.Seconds()); err != nil {
		return fmt.Errorf("forget evictions: %w", err)
	}
	return nil
}

// byAccount answers the versions that have live nodes of an account, with those
// nodes.
func (d db) byAccount(ctx context.Context, namespace, account string) ([]entry, error) {
	return d.entries(ctx, `
		WHERE `+ofAccount+`
		ORDER BY v.service, v.version
		LIMIT $3`, namespace, account, maxListed)
}

// grace is two heartbeats of the framework.
const grace = time.Minute

// forgive gives every node that is still known time to renew: a registry that
// was away could not be told.
func (d db) forgive(ctx context.Context) error {
	const q = `UPDATE registry.nodes SET expires_at = now() + $1 WHERE expires_at < now() + $1`
	if _, err := d.pool.Exec(ctx, q, grace); err != nil {
		return fmt.Errorf("give nodes time to renew: %w", err)
	}
	return nil
}

// eraseNodes removes versions of a namespace with their nodes, and tells.
func (d db) eraseNodes(ctx context.Context, namespace string) (removed int, err error) {
	const some = `
		v.namespace = $1 AND (v.service, v.version) IN (
			SELECT s.service, s.version FROM registry.versions s WHERE s.namespace = $1 ORDER BY s.service, s.version LIMIT $2)`
	const nodes = `
		DELETE FROM registry.nodes
		WHERE (namespace, service, version) IN (SELECT * FROM unnest($1::text[], $2::text[], $3::text[]))`
	err = pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		locked, err := lockVersions(ctx, tx, some, "", namespace, erasePage)
		if err != nil {
			return err
		}
		removed = len(locked)
		namespaces, services, versions := columns(locked)
		return removeNodes(ctx, tx, locked, nodes, namespaces, services, versions)
	})
	return removed, err
}
