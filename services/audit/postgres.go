package audit

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
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

// place is where an entry is.
type place struct {
	namespace string
	id        int64
}

// add appends rows, in one transaction, gives each its id and time, and answers
// what became of each: nil, errEnded or errNotBegun. The rows of a namespace are
// added one after the other, by the lock on the end of its chain.
func (d db) add(ctx context.Context, rows []*row) ([]error, error) {
	var results []error
	err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) (err error) {
		results, err = addIn(ctx, tx, rows)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("add to the audit log: %w", err)
	}
	return results, nil
}

// addIn is add in a transaction.
func addIn(ctx context.Context, tx pgx.Tx, rows []*row) ([]error, error) {
	results := make([]error, len(rows))
	ends, now, err := lockChains(ctx, tx, rows)
	if err != nil {
		return nil, err
	}
	calls, err := findCalls(ctx, tx, rows)
	if err != nil {
		return nil, err
	}
	var b pgx.Batch
	for i, r := range rows {
		if results[i] = calls.check(r); results[i] != nil {
			continue
		}
		end := ends[r.Namespace]
		r.ID, r.At = end.last+1, now
		end.last, end.hash = r.ID, r.hash(end.hash)
		r.insert(&b, end.hash)
	}
	for namespace, end := range ends {
		b.Queue(`UPDATE audit.chains SET last = $2, hash = $3 WHERE namespace = $1`, namespace, end.last, end.hash)
	}
	return results, tx.SendBatch(ctx, &b).Close()
}

// chainEnd is where a namespace's chain ends.
type chainEnd struct {
	last int64
	hash []byte
}

// lockChains answers the ends of the chains of some rows, for this transaction
// alone, and what time it is.
func lockChains(ctx context.Context, tx pgx.Tx, rows []*row) (map[string]*chainEnd, time.Time, error) {
	var names []string
	for _, r := range rows {
		if !slices.Contains(names, r.Namespace) {
			names = append(names, r.Namespace)
		}
	}
	slices.Sort(names) // the same order in every process, so that none waits in a circle
	_, err := tx.Exec(ctx, `INSERT INTO audit.chains (namespace) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING`, names)
	if err != nil {
		return nil, time.Time{}, err
	}
	locked, err := tx.Query(ctx, `
		SELECT namespace, last, hash FROM audit.chains WHERE namespace = ANY($1) ORDER BY namespace FOR UPDATE`, names)
	if err != nil {
		return nil, time.Time{}, err
	}
	ends := map[string]*chainEnd{}
	var namespace string
	var end chainEnd
	if _, err = pgx.ForEachRow(locked, []any{&namespace, &end.last, &end.hash}, func() error {
		ends[namespace] = &chainEnd{end.last, slices.Clone(end.hash)}
		return nil
	}); err != nil {
		return nil, time.Time{}, err
	}
	var now time.Time
	err = tx.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&now)
	return ends, now, err
}

// calls are the beginnings that some rows are the ends of, and whether they had
// one already.
type calls map[place]bool

func findCalls(ctx context.Context, tx pgx.Tx, rows []*row) (calls, error) {
	var names []string
	var ids []int64
	for _, r := range rows {
		if r.Begun > 0 {
			names, ids = append(names, r.Namespace), append(ids, r.Begun)
		}
	}
	found := calls{}
	if len(ids) == 0 {
		return found, nil
	}
	begun, err := tx.Query(ctx, `
		SELECT b.namespace, b.id, EXISTS (SELECT FROM audit.entries e WHERE e.namespace = b.namespace AND e.begun = b.id AND e.begun > 0)
		FROM audit.entries b JOIN unnest($1::text[], $2::bigint[]) AS x (namespace, id) ON b.namespace = x.namespace AND b.id = x.id
		WHERE b.begun = 0`, names, ids)
	if err != nil {
		return nil, err
	}
	var at place
	var ended bool
	_, err = pgx.ForEachRow(begun, []any{&at.namespace, &at.id, &ended}, func() error {
		found[at] = ended
		return nil
	})
	return found, err
}

// check says whether a row may be added, and remembers it.
func (c calls) check(r *row) error {
	if r.Begun == 0 {
		return nil
	}
	at := place{r.Namespace, r.Begun}
	ended, known := c[at]
	switch {
	case !known:
		return errNotBegun
	case ended:
		return errEnded
	}
	c[at] = true
	return nil
}

func (r *row) insert(b *pgx.Batch, hash []byte) {
	target := r.Target
	if target == nil {
		target = map[string]string{}
	}
	b.Queue(`
		INSERT INTO audit.entries (namespace, id, begun, at, account, account_type, operator, session, address, request_id, action, target, outcome, hash)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		r.Namespace, r.ID, r.Begun, r.At, r.Account, r.AccountType, r.Operator, r.Session, r.Address, r.RequestID, r.Action, target, r.Outcome, hash)
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

// chains answers the namespaces that have a log.
func (d db) chains(ctx context.Context) ([]string, error) {
	rows, _ := d.pool.Query(ctx, `SELECT namespace FROM audit.chains ORDER BY namespace`) // CollectRows reports the error
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list the audit logs: %w", err)
	}
	return names, nil
}
