package audit

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	auditpb "github.com/micro/platform/proto/audit"
)

var (
	errEnded    = errors.New("the call has ended already")
	errNotBegun = errors.New("no such call has begun")
)

type db struct{ pool *pgxpool.Pool }

// row is a row of the log. Its JSON is what is hashed, so a field is never
// renamed, and a new one is left out where it is empty.
type row struct {
	Namespace   string            `json:"namespace"`
	ID          int64             `json:"id"`
	Begun       int64             `json:"begun"`
	At          time.Time         `json:"at"`
	Account     string            `json:"account"`
	AccountType string            `json:"account_type"`
	Operator    bool              `json:"operator"`
	Session     string            `json:"session"`
	Address     string            `json:"address"`
	RequestID   string            `json:"request_id"`
	Action      string            `json:"action"`
	Target      map[string]string `json:"target"`
	Outcome     string            `json:"outcome"`
}

// hash is of the row and of the hash of the row before it.
func (r row) hash(before []byte) []byte {
	if len(r.Target) == 0 {
		r.Target = map[string]string{}
	}
	r.At = r.At.UTC()
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // texts, numbers and a time of this era: they can be written
	}
	sum := sha256.Sum256(append(before[:len(before):len(before)], b...))
	return sum[:]
}

// add appends a row, with an id and a time, and answers the id. The rows of a
// namespace are added one after the other, by the lock on the end of its chain.
func (d db) add(ctx context.Context, r row) (int64, error) {
	err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO audit.chains (namespace) VALUES ($1) ON CONFLICT DO NOTHING`, r.Namespace)
		if err != nil {
			return err
		}
		var before []byte
		var known bool
		err = tx.QueryRow(ctx, `
			SELECT last + 1, hash, clock_timestamp(),
				$2::bigint = 0 OR EXISTS (SELECT FROM audit.entries e WHERE e.namespace = $1 AND e.id = $2 AND e.begun = 0)
			FROM audit.chains WHERE namespace = $1 FOR UPDATE`, r.Namespace, r.Begun).
			Scan(&r.ID, &before, &r.At, &known)
		if err != nil {
			return err
		}
		if !known {
			return errNotBegun
		}
		hash := r.hash(before)
		target, err := json.Marshal(r.Target)
		if err != nil {
			return err
		}
		if len(r.Target) == 0 {
			target = []byte("{}")
		}
		_, err = tx.Exec(ctx, `
			INSERT INTO audit.entries (namespace, id, begun, at, account, account_type, operator, session, address, request_id, action, target, outcome, hash)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
			r.Namespace, r.ID, r.Begun, r.At, r.Account, r.AccountType, r.Operator, r.Session, r.Address, r.RequestID, r.Action, target, r.Outcome, hash)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE audit.chains SET last = $2, hash = $3 WHERE namespace = $1`, r.Namespace, r.ID, hash)
		return err
	})
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.ConstraintName == "one_end" {
		return 0, errEnded
	}
	if err != nil {
		return 0, fmt.Errorf("add to the audit log: %w", err)
	}
	return r.ID, nil
}

// query selects entries of a namespace.
type query struct {
	namespace     string
	filter        *auditpb.Filter
	before, after int64 // ids; 0 is open
	limit         int
	latestFirst   bool
}

// list answers the calls that a query selects, with their ends.
func (d db) list(ctx context.Context, q query) ([]*auditpb.Entry, error) {
	f := q.filter
	action, begins := strings.CutSuffix(f.GetAction(), "*")
	order := "ASC"
	if q.latestFirst {
		order = "DESC"
	}
	rows, err := d.pool.Query(ctx, `
		SELECT b.namespace, b.id, b.at, b.account, b.account_type, b.operator, b.session, b.address, b.request_id, b.action, b.target, coalesce(e.outcome, '')
		FROM audit.entries b
		LEFT JOIN audit.entries e ON e.namespace = b.namespace AND e.begun = b.id AND e.begun > 0
		WHERE b.namespace = $1 AND b.begun = 0
			AND ($2 = 0 OR b.id < $2) AND b.id > $3
			AND ($4 = '' OR b.account = $4)
			AND ($5 = '' OR CASE WHEN $6 THEN starts_with(b.action, $5) ELSE b.action = $5 END)
			AND ($7 = '' OR EXISTS (SELECT FROM jsonb_each_text(b.target) WHERE value = $7))
			AND ($8::bigint = 0 OR b.at >= to_timestamp($8 / 1000.0)) AND ($9::bigint = 0 OR b.at < to_timestamp($9 / 1000.0))
			AND (NOT $10 OR b.operator)
		ORDER BY b.id `+order+` LIMIT $11`,
		q.namespace, q.before, q.after, f.GetAccount(), action, begins, f.GetTarget(), f.GetSince(), f.GetUntil(), f.GetOperator(), q.limit)
	if err != nil {
		return nil, fmt.Errorf("list the audit log: %w", err)
	}
	entries, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (*auditpb.Entry, error) {
		e, at := new(auditpb.Entry), time.Time{}
		err := r.Scan(&e.Namespace, &e.Id, &at, &e.Account, &e.AccountType, &e.Operator, &e.Session, &e.Address, &e.RequestId, &e.Action, &e.Target, &e.Outcome)
		e.Time = at.UnixMilli()
		return e, err
	})
	if err != nil {
		return nil, fmt.Errorf("list the audit log: %w", err)
	}
	return entries, nil
}

// rows hands every row of a namespace on, in order, with the hash that is kept,
// until f answers false.
func (d db) rows(ctx context.Context, namespace string, f func(row, []byte) bool) error {
	rows, err := d.pool.Query(ctx, `
		SELECT id, begun, at, account, account_type, operator, session, address, request_id, action, target, outcome, hash
		FROM audit.entries WHERE namespace = $1 ORDER BY id`, namespace)
	if err != nil {
		return fmt.Errorf("read the audit log: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		r, hash := row{Namespace: namespace}, []byte(nil)
		err := rows.Scan(&r.ID, &r.Begun, &r.At, &r.Account, &r.AccountType, &r.Operator, &r.Session, &r.Address, &r.RequestID, &r.Action, &r.Target, &r.Outcome, &hash)
		if err != nil {
			return fmt.Errorf("read the audit log: %w", err)
		}
		if !f(r, hash) {
			return nil
		}
	}
	return rows.Err()
}

// end answers the id of the last row of a namespace.
func (d db) end(ctx context.Context, namespace string) (int64, error) {
	var last int64
	err := d.pool.QueryRow(ctx, `SELECT coalesce((SELECT last FROM audit.chains WHERE namespace = $1), 0)`, namespace).Scan(&last)
	if err != nil {
		return 0, fmt.Errorf("read the end of the audit log: %w", err)
	}
	return last, nil
}
