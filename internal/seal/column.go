package seal

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// page is how many rows are read, and sealed anew in one transaction.
const page = 200

// Column is where a component keeps sealed texts, for those who exchange the
// cluster secret. Read, Write and Where are SQL.
type Column struct {
	// What is for people: "signing keys".
	What string
	// Box is the name of the box that seals them.
	Box string
	// Table is the table with its schema, and Key its primary key.
	Table string
	Key   []string
	// Read is the text, null where there is none, and Write the assignment of
	// another one, which is $1.
	Read, Write string
	// Where bounds the rows; all when it is empty.
	Where string
	// Owner answers the owner of a text from the row's key.
	Owner func(key []any) string
	// Reseal is (*Box).Reseal when it is nil.
	Reseal func(b *Box, sealed []byte, owner string) ([]byte, error)
}

// Count is how many texts of a column there are, how many of them are sealed
// with the secret that goes, and how many open with neither.
type Count struct{ All, Old, Lost int }

// Count reads a column.
func (c Column) Count(ctx context.Context, pool *pgxpool.Pool, cluster Cluster) (Count, error) {
	return c.visit(ctx, pool, cluster, func(Count, []change) error { return nil })
}

// Seal seals anew what is not sealed with the secret that seals, and answers what
// there was. Others read and write meanwhile: what somebody else has changed since
// it was read is left to the next time. tell hears how far it has come.
func (c Column) Seal(ctx context.Context, pool *pgxpool.Pool, cluster Cluster, tell func(Count)) (Count, error) {
	return c.visit(ctx, pool, cluster, func(n Count, changes []change) error {
		err := c.write(ctx, pool, changes)
		tell(n)
		return err
	})
}

// change is a text that is to be replaced.
type change struct {
	key       []any
	old, anew []byte
}

// visit goes through the rows in the order of their keys, and passes on each
// page's texts of the old secret, with what there was so far.
func (c Column) visit(ctx context.Context, pool *pgxpool.Pool, cluster Cluster, pass func(Count, []change) error) (Count, error) {
	var n Count
	box, err := New(cluster, c.Box)
	if err != nil {
		return n, err
	}
	for after := []any(nil); ; {
		rows, err := c.read(ctx, pool, after)
		if err != nil {
			return n, fmt.Errorf("read %s: %w", c.What, err)
		}
		changes, lost, err := c.resealed(box, rows)
		if err != nil {
			return n, fmt.Errorf("seal %s: %w", c.What, err)
		}
		n.All, n.Old, n.Lost = n.All+len(rows), n.Old+len(changes), n.Lost+lost
		if err := pass(n, changes); err != nil {
			return n, fmt.Errorf("write %s: %w", c.What, err)
		}
		if len(rows) < page {
			return n, nil
		}
		after = rows[len(rows)-1][:len(c.Key)]
	}
}

// resealed answers the texts of a page that are to be replaced, and how many of
// it open with neither secret.
func (c Column) resealed(box *Box, rows [][]any) (changes []change, lost int, err error) {
	reseal := c.Reseal
	if reseal == nil {
		reseal = (*Box).Reseal
	}
	for _, row := range rows {
		key, old := row[:len(c.Key)], row[len(c.Key)].([]byte)
		anew, err := reseal(box, old, c.Owner(key))
		switch {
		case errors.Is(err, ErrOpen):
			lost++
		case err != nil:
			return nil, 0, err
		case anew != nil:
			changes = append(changes, change{key, old, anew})
		}
	}
	return changes, lost, nil
}

// read answers the keys and texts of the rows after a key.
func (c Column) read(ctx context.Context, pool *pgxpool.Pool, after []any) ([][]any, error) {
	key := strings.Join(c.Key, ", ")
	q := "SELECT " + key + ", " + c.Read + " FROM " + c.Table + " WHERE " + c.Read + " IS NOT NULL"
	if c.Where != "" {
		q += " AND " + c.Where
	}
	if len(after) > 0 {
		q += " AND (" + key + ") > (" + params(1, len(after)) + ")"
	}
	q += fmt.Sprintf(" ORDER BY %s LIMIT %d", key, page)
	rows, _ := pool.Query(ctx, q, after...) // CollectRows reports the error
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]any, error) { return row.Values() })
}

// write replaces texts, unless they have changed since they were read.
func (c Column) write(ctx context.Context, pool *pgxpool.Pool, changes []change) error {
	if len(changes) == 0 {
		return nil
	}
	q := "UPDATE " + c.Table + " SET " + c.Write + " WHERE " + c.Read + " = $2 AND (" + strings.Join(c.Key, ", ") + ") = (" + params(3, len(c.Key)) + ")"
	var b pgx.Batch
	for _, x := range changes {
		b.Queue(q, append([]any{x.anew, x.old}, x.key...)...)
	}
	return pool.SendBatch(ctx, &b).Close()
}

// params are n parameters of a statement from $first on.
func params(first, n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("$%d", first+i))
	}
	return strings.Join(all, ", ")
}
