package registry

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/framework/errors"
	registrypb "github.com/micro/platform/proto/registry"
)

type db struct{ pool *pgxpool.Pool }

// key names a version of a service.
type key struct {
	Namespace string `json:"namespace"`
	Service   string `json:"service"`
	Version   string `json:"version"`
}

// change is what NOTIFY says: which version to look at again.
type change struct {
	key
	Created bool `json:"created,omitempty"`
}

// channel is where changes are told.
const channel = "registry_changes"

// entry is a version with its live nodes.
type entry struct {
	key
	Metadata  map[string]string
	Endpoints []byte
	Nodes     []node
}

type node struct {
	ID       string            `json:"id"`
	Address  string            `json:"address"`
	Port     int64             `json:"port"`
	Metadata map[string]string `json:"metadata"`
}

// entries starts every query for entries. The time in it makes a node's end
// exact, however late it is swept.
const entries = `
	SELECT v.namespace, v.service, v.version, v.metadata, v.endpoints, (
		SELECT jsonb_agg(jsonb_build_object('id', n.id, 'address', n.address, 'port', n.port, 'metadata', n.metadata) ORDER BY n.id)
		FROM registry.nodes n
		WHERE n.namespace = v.namespace AND n.service = v.service AND n.version = v.version
		  AND (n.expires_at IS NULL OR n.expires_at > now())
	) AS nodes
	FROM registry.versions v `

func (d db) entries(ctx context.Context, query string, args ...any) ([]entry, error) {
	rows, _ := d.pool.Query(ctx, entries+query, args...) // CollectRows reports the error
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[entry])
	if err != nil {
		return nil, fmt.Errorf("read entries: %w", err)
	}
	return all, nil
}

func (d db) get(ctx context.Context, namespace, service string) ([]entry, error) {
	return d.entries(ctx, `
		WHERE v.namespace = $1 AND v.service = $2
		ORDER BY v.version
		LIMIT $3`, namespace, service, maxListed)
}

func (d db) list(ctx context.Context, namespace string) ([]entry, error) {
	return d.entries(ctx, `
		WHERE v.namespace = $1
		ORDER BY v.service, v.version
		LIMIT $2`, namespace, maxListed)
}

// page answers entries of all namespaces that come after one.
func (d db) page(ctx context.Context, after key, limit int) ([]entry, error) {
	return d.entries(ctx, `
		WHERE (v.namespace, v.service, v.version) > ($1, $2, $3)
		ORDER BY v.namespace, v.service, v.version
		LIMIT $4`, after.Namespace, after.Service, after.Version, limit)
}

// look answers what there is of some versions.
func (d db) look(ctx context.Context, keys []key) ([]entry, error) {
	namespaces, services, versions := columns(keys)
	return d.entries(ctx, `
		WHERE (v.namespace, v.service, v.version) IN (SELECT * FROM unnest($1::text[], $2::text[], $3::text[]))
		ORDER BY v.namespace, v.service, v.version
		LIMIT $4`, namespaces, services, versions, len(keys))
}

// columns turns keys into parameters for unnest.
func columns(keys []key) (namespaces, services, versions []string) {
	for _, k := range keys {
		namespaces, services, versions = append(namespaces, k.Namespace), append(services, k.Service), append(versions, k.Version)
	}
	return namespaces, services, versions
}

// registration is what is going to be stored of a Service.
type registration struct {
	key
	holder
	service *registrypb.Service
	ttl     int64 // seconds; 0 does not expire
	digest  []byte
}

// newRegistration also makes the digest that renewals are recognised by.
func newRegistration(namespace string, h holder, ttl int64, s *registrypb.Service) (registration, error) {
	r := registration{key{namespace, s.GetName(), s.GetVersion()}, h, s, ttl, nil}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(s)
	if err != nil {
		return r, fmt.Errorf("encode registration: %w", err)
	}
	sum := sha256.Sum256(append(b, h.account+"/"+h.deployed...))
	r.digest = sum[:]
	return r, nil
}

func (r registration) nodeIDs() []string {
	var ids []string
	for _, n := range r.service.GetNodes() {
		ids = append(ids, n.GetId())
	}
	return ids
}

// expires is SQL for the end of a life of so many seconds.
const expires = `CASE WHEN @ttl::bigint = 0 THEN NULL ELSE now() + make_interval(secs => @ttl::bigint) END`

// renew lengthens the life of nodes that are registered just like that, and
// says whether all of them were. That is nearly every registration there is.
func (d db) renew(ctx context.Context, r registration) (bool, error) {
	const q = `
		UPDATE registry.nodes
		SET expires_at = ` + expires + `
		WHERE namespace = @namespace AND service = @service AND version = @version AND id = ANY(@ids)
		  AND digest = @digest AND (expires_at IS NULL OR expires_at > now())`
	tag, err := d.pool.Exec(ctx, q, pgx.NamedArgs{
		"namespace": r.Namespace, "service": r.Service, "version": r.Version, "ids": r.nodeIDs(), "digest": r.digest, "ttl": r.ttl,
	})
	if err != nil {
		return false, fmt.Errorf("renew nodes: %w", err)
	}
	return tag.RowsAffected() == int64(len(r.service.GetNodes())), nil
}

// register stores a registration that changes something.
func (d db) register(ctx context.Context, r registration, maxVersions int) error {
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		if err := refuseEvicted(ctx, tx, r); err != nil {
			return err
		}
		if err := holdName(ctx, tx, r); err != nil {
			return err
		}
		created, err := putVersion(ctx, tx, r, maxVersions)
		if err != nil {
			return err
		}
		if err := putNodes(ctx, tx, r); err != nil {
			return err
		}
		return notify(ctx, tx, change{r.key, created})
	})
}

// lockAccount makes registrations and evictions of an account take turns, so
// that none slips in while it is being evicted.
func lockAccount(ctx context.Context, tx pgx.Tx, namespace, account string) error {
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1 || '/' || $2, 0))", namespace, account); err != nil {
		return fmt.Errorf("lock account: %w", err)
	}
	return nil
}

func refuseEvicted(ctx context.Context, tx pgx.Tx, r registration) error {
	if err := lockAccount(ctx, tx, r.Namespace, r.account); err != nil {
		return err
	}
	const q = `SELECT EXISTS (SELECT 1 FROM registry.evictions WHERE namespace = $1 AND account = $2)`
	var evicted bool
	if err := tx.QueryRow(ctx, q, r.Namespace, r.account).Scan(&evicted); err != nil {
		return fmt.Errorf("look for eviction: %w", err)
	}
	if evicted {
		return errors.New(codes.FailedPrecondition, "account %q was replaced by a newer revision and is not registered any more", errors.Clip(r.account))
	}
	return nil
}

func putVersion(ctx context.Context, tx pgx.Tx, r registration, maxVersions int) (created bool, err error) {
	described, err := proto.Marshal(&registrypb.Service{Endpoints: r.service.GetEndpoints()})
	if err != nil {
		return false, fmt.Errorf("encode endpoints: %w", err)
	}
	const put = `
		INSERT INTO registry.versions (namespace, service, version, metadata, endpoints)
		VALUES (@namespace, @service, @version, @metadata, @endpoints)
		ON CONFLICT (namespace, service, version)
		DO UPDATE SET metadata = EXCLUDED.metadata, endpoints = EXCLUDED.endpoints, updated_at = now()
		RETURNING xmax = 0` // no transaction has changed a row that is new
	err = tx.QueryRow(ctx, put, pgx.NamedArgs{
		"namespace": r.Namespace, "service": r.Service, "version": r.Version, "metadata": orEmpty(r.service.GetMetadata()), "endpoints": described,
	}).Scan(&created)
	if err != nil {
		return false, fmt.Errorf("put version: %w", err)
	}
	if !created {
		return false, nil
	}
	const count = `SELECT count(*) FROM registry.versions WHERE namespace = $1`
	var n int
	if err := tx.QueryRow(ctx, count, r.Namespace).Scan(&n); err != nil {
		return false, fmt.Errorf("count versions: %w", err)
	}
	if n > maxVersions {
		return false, errors.New(codes.ResourceExhausted, "namespace %q has %d services and versions, which is the limit", r.Namespace, maxVersions)
	}
	return true, nil
}

func putNodes(ctx context.Context, tx pgx.Tx, r registration) error {
	const put = `
		INSERT INTO registry.nodes AS n (namespace, service, version, id, address, metadata, account, deployed, digest, expires_at)
		VALUES (@namespace, @service, @version, @id, @address, @metadata, @account, @deployed, @digest, ` + expires + `)
		ON CONFLICT (namespace, service, version, id)
		DO UPDATE SET address = EXCLUDED.address, metadata = EXCLUDED.metadata, account = EXCLUDED.account, deployed = EXCLUDED.deployed,
			digest = EXCLUDED.digest, expires_at = EXCLUDED.expires_at, registered_at = now()
		WHERE n.account = EXCLUDED.account OR n.expires_at <= now()`
	for _, n := range r.service.GetNodes() {
		tag, err := tx.Exec(ctx, put, pgx.NamedArgs{
			"namespace": r.Namespace, "service": r.Service, "version": r.Version, "id": n.GetId(), "address": n.GetAddress(),
			"metadata": orEmpty(n.GetMetadata()), "account": r.account, "deployed": r.deployed,
			"digest": r.digest, "ttl": r.ttl,
		})
		if err != nil {
			return fmt.Errorf("put node: %w", err)
		}
		if tag.RowsAffected() == 0 {
			return errors.New(codes.AlreadyExists, "node %q is registered by another account", errors.Clip(n.GetId()))
		}
	}
	const count = `
		SELECT count(*) FROM registry.nodes
		WHERE namespace = $1 AND service = $2 AND version = $3 AND (expires_at IS NULL OR expires_at > now())`
	var total int
	if err := tx.QueryRow(ctx, count, r.Namespace, r.Service, r.Version).Scan(&total); err != nil {
		return fmt.Errorf("count nodes: %w", err)
	}
	if total > maxNodes {
		return errors.New(codes.ResourceExhausted, "service %q version %q has %d nodes, which is the limit", r.Service, r.Version, maxNodes)
	}
	return nil
}

func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

func notify(ctx context.Context, tx pgx.Tx, c change) error {
	b, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode change: %w", err)
	}
	if _, err := tx.Exec(ctx, "SELECT pg_notify($1, $2)", channel, string(b)); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	return nil
}
