package usage

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	namespacespb "github.com/micro/platform/proto/namespaces"
)

// month answers what a namespace has used in a month, by service.
func (d db) month(ctx context.Context, namespace string, month time.Time) ([]row, error) {
	const q = `
		SELECT namespace, month, service, '', '', '', calls, refused, bytes_in, bytes_out,
			cpu_milli_seconds, memory_mib_seconds, egress_bytes, stored_byte_hours, build_seconds
		FROM usage.months
		WHERE namespace = $1 AND month = $2
		ORDER BY service
		LIMIT $3`
	rows, _ := d.pool.Query(ctx, q, namespace, month, maxRows) // CollectRows reports the error
	out, err := pgx.CollectRows(rows, scanRow)
	if err != nil {
		return nil, fmt.Errorf("read a month: %w", err)
	}
	return out, nil
}

// changedSince answers the namespaces that have used something since then, or
// are held back.
func (d db) changedSince(ctx context.Context, since time.Time) ([]string, error) {
	const q = `
		SELECT namespace FROM usage.months WHERE changed_at > $1
		UNION
		SELECT namespace FROM usage.throttles`
	rows, _ := d.pool.Query(ctx, q, since) // CollectRows reports the error
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("read what has changed: %w", err)
	}
	return out, nil
}

// budgets answers the budgets of a namespace, its own first.
func (d db) budgets(ctx context.Context, namespace string) ([]budget, error) {
	const q = `
		SELECT service, cap, action
		FROM usage.budgets
		WHERE namespace = $1
		ORDER BY service`
	rows, _ := d.pool.Query(ctx, q, namespace) // CollectRows reports the error
	out, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (b budget, err error) {
		err = r.Scan(&b.Service, &b.Cap, &b.Action)
		return b, err
	})
	if err != nil {
		return nil, fmt.Errorf("read budgets: %w", err)
	}
	return out, nil
}

func (d db) setBudget(ctx context.Context, namespace string, b budget, account string, most int) error {
	const q = `
		INSERT INTO usage.budgets (namespace, service, cap, action, account)
		SELECT @namespace, @service, @cap, @action, @account
		WHERE (SELECT count(*) FROM usage.budgets WHERE namespace = @namespace AND service <> @service) < @most
		ON CONFLICT (namespace, service) DO UPDATE SET cap = excluded.cap, action = excluded.action, account = excluded.account, changed_at = now()`
	tag, err := d.pool.Exec(ctx, q, pgx.NamedArgs{
		"namespace": namespace, "service": b.Service, "cap": b.Cap, "action": int16(b.Action), "account": account, "most": most})
	if err != nil {
		return fmt.Errorf("set a budget: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return errors.New(codes.ResourceExhausted, "a namespace may set %d budgets: delete one first", most)
	}
	return nil
}

func (d db) deleteBudget(ctx context.Context, namespace, service string) error {
	const q = `DELETE FROM usage.budgets WHERE namespace = $1 AND service = $2`
	tag, err := d.pool.Exec(ctx, q, namespace, service)
	if err != nil {
		return fmt.Errorf("delete a budget: %w", err)
	}
	if tag.RowsAffected() == 0 && service != "" {
		return errors.New(codes.NotFound, "service %q has no budget", errors.Clip(service))
	}
	if tag.RowsAffected() == 0 {
		return errors.New(codes.NotFound, "the namespace has no budget of its own")
	}
	return nil
}

// throttles answers what component namespaces was told last, by service.
func (d db) throttles(ctx context.Context, namespace string) (map[string]hold, error) {
	const q = `SELECT service, action, reason FROM usage.throttles WHERE namespace = $1`
	rows, _ := d.pool.Query(ctx, q, namespace) // ForEachRow reports the error
	out := map[string]hold{}
	var service, reason string
	var action int16
	_, err := pgx.ForEachRow(rows, []any{&service, &action, &reason}, func() error {
		out[service] = hold{namespacespb.Action(action), reason}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read throttles: %w", err)
	}
	return out, nil
}

func (d db) setThrottle(ctx context.Context, namespace, service string, h hold) error {
	const set = `
		INSERT INTO usage.throttles (namespace, service, action, reason)
		VALUES ($1, $2, $3, $4)
		ON CONFLICT (namespace, service) DO UPDATE SET action = excluded.action, reason = excluded.reason`
	const remove = `DELETE FROM usage.throttles WHERE namespace = $1 AND service = $2`
	var err error
	if h.Action == namespacespb.Action_NONE {
		_, err = d.pool.Exec(ctx, remove, namespace, service)
	} else {
		_, err = d.pool.Exec(ctx, set, namespace, service, int16(h.Action), h.Reason)
	}
	if err != nil {
		return fmt.Errorf("note a throttle: %w", err)
	}
	return nil
}

// alerted says whether a step of a budget has had its mail.
func (d db) alerted(ctx context.Context, namespace string, b budget, month time.Time, percent int64) (known bool, err error) {
	const q = `
		SELECT EXISTS (
			SELECT 1 FROM usage.alerts
			WHERE namespace = $1 AND service = $2 AND month = $3 AND cap = $4 AND percent = $5)`
	if err := d.pool.QueryRow(ctx, q, namespace, b.Service, month, b.Cap, percent).Scan(&known); err != nil {
		return false, fmt.Errorf("read alerts: %w", err)
	}
	return known, nil
}

// alert notes that a step of a budget has its mail, which send puts into the
// same transaction, unless another process was first.
func (d db) alert(ctx context.Context, namespace string, b budget, month time.Time, percent int64, send func(context.Context, pgx.Tx) error) error {
	const q = `
		INSERT INTO usage.alerts (namespace, service, month, cap, percent)
		VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT DO NOTHING`
	err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, q, namespace, b.Service, month, b.Cap, percent)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		return send(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("alert about a budget: %w", err)
	}
	return nil
}
