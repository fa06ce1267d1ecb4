package usage

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/micro/platform/internal/meter"
	usagepb "github.com/micro/platform/proto/usage"
)

type db struct{ pool *pgxpool.Pool }

// place is how far a log is folded.
type place struct {
	Segment  int64
	Position int64
}

// fold adds the records of a request that are not yet folded, and answers up to
// where its segment is. count answers what records come to.
func (d db) fold(ctx context.Context, req *usagepb.AppendRequest, count func([]byte) (tally, error)) (folded int64, err error) {
	segment, offset, data := int64(req.GetSegment()), int64(req.GetOffset()), req.GetData()
	err = pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		at, err := lockLog(ctx, tx, req.GetLog())
		if err != nil {
			return err
		}
		switch {
		case segment < at.Segment: // all of it was there before the next began
			folded = offset + int64(len(data))
			return nil
		case segment > at.Segment:
			at = place{segment, meter.Begin}
		}
		skip := at.Position - offset
		if skip < 0 || skip >= int64(len(data)) {
			folded = at.Position
			return nil
		}
		t, err := count(data[skip:])
		if err != nil {
			return err
		}
		folded = offset + int64(len(data))
		if err := moveLog(ctx, tx, req.GetLog(), place{segment, folded}); err != nil {
			return err
		}
		return add(ctx, tx, t)
	})
	if err != nil {
		return 0, fmt.Errorf("fold calls: %w", err)
	}
	return folded, nil
}

// lockLog answers how far a log is folded, and keeps it so until the end of the
// transaction. A new one is at segment 0.
func lockLog(ctx context.Context, tx pgx.Tx, log []byte) (place, error) {
	const begin = `
		INSERT INTO usage.logs (log, segment, position)
		VALUES ($1, 0, 0)
		ON CONFLICT (log) DO NOTHING`
	if _, err := tx.Exec(ctx, begin, log); err != nil {
		return place{}, err
	}
	const q = `
		SELECT segment, position
		FROM usage.logs
		WHERE log = $1
		FOR UPDATE`
	rows, _ := tx.Query(ctx, q, log) // CollectExactlyOneRow reports the error
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[place])
}

func moveLog(ctx context.Context, tx pgx.Tx, log []byte, to place) error {
	const q = `
		UPDATE usage.logs
		SET segment = $2, position = $3, folded_at = now()
		WHERE log = $1`
	_, err := tx.Exec(ctx, q, log, to.Segment, to.Position)
	return err
}

// add adds to the figures.
func add(ctx context.Context, tx pgx.Tx, t tally) error {
	if len(t) == 0 {
		return nil
	}
	days, err := bounded(ctx, tx, t)
	if err != nil {
		return err
	}
	if err := addDays(ctx, tx, days); err != nil {
		return err
	}
	return addMonths(ctx, tx, t.months())
}

// addDays adds to the figures of days, and to the numbers of their rows.
func addDays(ctx context.Context, tx pgx.Tx, t tally) error {
	const q = `
		WITH added AS (
		INSERT INTO usage.days AS d (namespace, day, service, endpoint, account, class, calls, refused, bytes_in, bytes_out,
			cpu_milli_seconds, memory_mib_seconds, egress_bytes, stored_byte_hours, build_seconds)
		SELECT * FROM unnest(@namespaces::text[], @days::date[], @services::text[], @endpoints::text[], @accounts::text[], @classes::text[],
			@calls::bigint[], @refused::bigint[], @bytes_in::bigint[], @bytes_out::bigint[],
			@cpu::bigint[], @memory::bigint[], @egress::bigint[], @stored::bigint[], @build::bigint[])
		ON CONFLICT (namespace, day, service, endpoint, account, class) DO UPDATE SET
			calls = d.calls + excluded.calls,
			refused = d.refused + excluded.refused,
			bytes_in = d.bytes_in + excluded.bytes_in,
			bytes_out = d.bytes_out + excluded.bytes_out,
			cpu_milli_seconds = d.cpu_milli_seconds + excluded.cpu_milli_seconds,
			memory_mib_seconds = d.memory_mib_seconds + excluded.memory_mib_seconds,
			egress_bytes = d.egress_bytes + excluded.egress_bytes,
			stored_byte_hours = d.stored_byte_hours + excluded.stored_byte_hours,
			build_seconds = d.build_seconds + excluded.build_seconds
		RETURNING namespace, day, xmax = 0 AS new)
		UPDATE usage.series AS s
		SET rows = s.rows + a.rows
		FROM (SELECT namespace, day, count(*) AS rows FROM added WHERE new GROUP BY namespace, day) AS a
		WHERE s.namespace = a.namespace AND s.day = a.day`
	if _, err := tx.Exec(ctx, q, columns(t.rows())); err != nil {
		return fmt.Errorf("add to days: %w", err)
	}
	return nil
}

// addMonths adds to the figures of months.
func addMonths(ctx context.Context, tx pgx.Tx, t tally) error {
	const q = `
		INSERT INTO usage.months AS m (namespace, month, service, calls, refused, bytes_in, bytes_out,
			cpu_milli_seconds, memory_mib_seconds, egress_bytes, stored_byte_hours, build_seconds)
		SELECT * FROM unnest(@namespaces::text[], @days::date[], @services::text[],
			@calls::bigint[], @refused::bigint[], @bytes_in::bigint[], @bytes_out::bigint[],
			@cpu::bigint[], @memory::bigint[], @egress::bigint[], @stored::bigint[], @build::bigint[])
		ON CONFLICT (namespace, month, service) DO UPDATE SET
			calls = m.calls + excluded.calls,
			refused = m.refused + excluded.refused,
			bytes_in = m.bytes_in + excluded.bytes_in,
			bytes_out = m.bytes_out + excluded.bytes_out,
			cpu_milli_seconds = m.cpu_milli_seconds + excluded.cpu_milli_seconds,
			memory_mib_seconds = m.memory_mib_seconds + excluded.memory_mib_seconds,
			egress_bytes = m.egress_bytes + excluded.egress_bytes,
			stored_byte_hours = m.stored_byte_hours + excluded.stored_byte_hours,
			build_seconds = m.build_seconds + excluded.build_seconds,
			changed_at = now()`
	if _, err := tx.Exec(ctx, q, columns(t.rows())); err != nil {
		return fmt.Errorf("add to months: %w", err)
	}
	return nil
}

// columns turns rows into parameters for unnest.
func columns(rows []row) pgx.NamedArgs {
	texts := func(of func(row) string) []string { return collect(rows, of) }
	numbers := func(of func(row) int64) []int64 { return collect(rows, of) }
	return pgx.NamedArgs{
		"namespaces": texts(func(r row) string { return r.Namespace }),
		"days":       collect(rows, func(r row) time.Time { return r.Day }),
		"services":   texts(func(r row) string { return r.Service }),
		"endpoints":  texts(func(r row) string { return r.Endpoint }),
		"accounts":   texts(func(r row) string { return r.Account }),
		"classes":    texts(func(r row) string { return r.Class }),
		"calls":      numbers(func(r row) int64 { return r.Calls }),
		"refused":    numbers(func(r row) int64 { return r.Refused }),
		"bytes_in":   numbers(func(r row) int64 { return r.BytesIn }),
		"bytes_out":  numbers(func(r row) int64 { return r.BytesOut }),
		"cpu":        numbers(func(r row) int64 { return r.CPUMilliSeconds }),
		"memory":     numbers(func(r row) int64 { return r.MemoryMiBSeconds }),
		"egress":     numbers(func(r row) int64 { return r.EgressBytes }),
		"stored":     numbers(func(r row) int64 { return r.StoredByteHours }),
		"build":      numbers(func(r row) int64 { return r.BuildSeconds }),
	}
}

func collect[T any](rows []row, of func(row) T) []T {
	out := make([]T, len(rows))
	for i, r := range rows {
		out[i] = of(r)
	}
	return out
}

// query is what Read asks for.
type query struct {
	period  period
	by      groups
	service string
}

// read answers the sums of a period, one row more than Read answers.
func (d db) read(ctx context.Context, namespace string, q query) ([]row, error) {
	const sums = `
		SELECT '' AS namespace,
			CASE WHEN @by_day::boolean THEN day ELSE '0001-01-01'::date END AS day,
			CASE WHEN @by_service::boolean THEN service ELSE '' END AS service,
			CASE WHEN @by_endpoint::boolean THEN endpoint ELSE '' END AS endpoint,
			CASE WHEN @by_member::boolean THEN account ELSE '' END AS account,
			CASE WHEN @by_class::boolean THEN class ELSE '' END AS class,
			sum(calls)::bigint AS calls, sum(refused)::bigint AS refused,
			sum(bytes_in)::bigint AS bytes_in, sum(bytes_out)::bigint AS bytes_out,
			sum(cpu_milli_seconds)::bigint AS cpu_milli_seconds, sum(memory_mib_seconds)::bigint AS memory_mib_seconds,
			sum(egress_bytes)::bigint AS egress_bytes, sum(stored_byte_hours)::bigint AS stored_byte_hours,
			sum(build_seconds)::bigint AS build_seconds
		FROM usage.days
		WHERE namespace = @namespace AND day BETWEEN @from AND @to AND (@service::text = '' OR service = @service)
		GROUP BY 2, 3, 4, 5, 6
		ORDER BY 2, 3, 4, 5, 6
		LIMIT @limit`
	rows, _ := d.pool.Query(ctx, sums, pgx.NamedArgs{ // CollectRows reports the error
		"namespace": namespace, "from": q.period.from, "to": q.period.to, "service": q.service, "limit": maxRows + 1,
		"by_day": q.by.day, "by_service": q.by.service, "by_endpoint": q.by.endpoint, "by_member": q.by.member, "by_class": q.by.class,
	})
	out, err := pgx.CollectRows(rows, scanRow)
	if err != nil {
		return nil, fmt.Errorf("read usage: %w", err)
	}
	return out, nil
}

// page answers the rows of a period after a key, in the order of keys.
func (d db) page(ctx context.Context, namespace string, p period, after key, limit int) ([]row, error) {
	const q = `
		SELECT namespace, day, service, endpoint, account, class, calls, refused, bytes_in, bytes_out,
			cpu_milli_seconds, memory_mib_seconds, egress_bytes, stored_byte_hours, build_seconds
		FROM usage.days
		WHERE namespace = @namespace AND day BETWEEN @from AND @to
		  AND (day, service, endpoint, account, class) > (@day, @service, @endpoint, @account, @class)
		ORDER BY day, service, endpoint, account, class
		LIMIT @limit`
	rows, _ := d.pool.Query(ctx, q, pgx.NamedArgs{ // CollectRows reports the error
		"namespace": namespace, "from": p.from, "to": p.to, "limit": limit,
		"day": after.Day, "service": after.Service, "endpoint": after.Endpoint, "account": after.Account, "class": after.Class,
	})
	out, err := pgx.CollectRows(rows, scanRow)
	if err != nil {
		return nil, fmt.Errorf("page usage: %w", err)
	}
	return out, nil
}

func scanRow(r pgx.CollectableRow) (x row, err error) {
	err = r.Scan(&x.Namespace, &x.Day, &x.Service, &x.Endpoint, &x.Account, &x.Class, &x.Calls, &x.Refused, &x.BytesIn, &x.BytesOut,
		&x.CPUMilliSeconds, &x.MemoryMiBSeconds, &x.EgressBytes, &x.StoredByteHours, &x.BuildSeconds)
	return x, err
}

// foldedAt answers when records were folded last.
func (d db) foldedAt(ctx context.Context) (at time.Time, err error) {
	const q = `SELECT coalesce(max(folded_at), 'epoch') FROM usage.logs`
	if err := d.pool.QueryRow(ctx, q).Scan(&at); err != nil {
		return at, fmt.Errorf("read when calls were folded: %w", err)
	}
	return at, nil
}
