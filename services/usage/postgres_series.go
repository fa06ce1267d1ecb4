package usage

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// lockSeries answers how many rows there are.
func lockSeries(ctx context.Context, tx pgx.Tx, of []namespaceDay) (map[namespaceDay]int, error) {
	const q = `
		INSERT INTO usage.series AS s (namespace, day, rows)
		SELECT namespace, day, 0 FROM unnest(@namespaces::text[], @days::date[]) AS r (namespace, day)
		ORDER BY namespace, day
		ON CONFLICT (namespace, day) DO UPDATE SET detailed = true
		RETURNING namespace, day, rows`
	var namespaces []string
	var days []time.Time
	for _, n := range of {
		namespaces, days = append(namespaces, n.Namespace), append(days, n.Day)
	}
	rows, _ := tx.Query(ctx, q, pgx.NamedArgs{"namespaces": namespaces, "days": days}) // ForEachRow reports the error
	out := map[namespaceDay]int{}
	var n namespaceDay
	var count int
	if _, err := pgx.ForEachRow(rows, []any{&n.Namespace, &n.Day, &count}, func() error { out[n] = count; return nil }); err != nil {
		return nil, fmt.Errorf("lock series: %w", err)
	}
	return out, nil
}

// knownKeys answers which of a namespace's keys of a day have a row.
func knownKeys(ctx context.Context, tx pgx.Tx, keys []key) (map[key]bool, error) {
	const q = `
		SELECT d.service, d.endpoint, d.account, d.class
		FROM usage.days AS d
		JOIN unnest(@services::text[], @endpoints::text[], @accounts::text[], @classes::text[]) AS k (service, endpoint, account, class)
			USING (service, endpoint, account, class)
		WHERE d.namespace = @namespace AND d.day = @day`
	rs := make([]row, len(keys))
	for i, k := range keys {
		rs[i].key = k
	}
	args := columns(rs)
	args["namespace"], args["day"] = keys[0].Namespace, keys[0].Day
	rows, _ := tx.Query(ctx, q, args) // ForEachRow reports the error
	k := key{Namespace: keys[0].Namespace, Day: keys[0].Day}
	out := map[key]bool{}
	if _, err := pgx.ForEachRow(rows, []any{&k.Service, &k.Endpoint, &k.Account, &k.Class}, func() error { out[k] = true; return nil }); err != nil {
		return nil, fmt.Errorf("look for series: %w", err)
	}
	return out, nil
}
