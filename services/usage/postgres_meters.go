package usage

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// never is the mark of a meter that is new.
var never = time.Unix(0, 0)

// lockMeters answers the marks of meters, and keeps them so until the end of the
// transaction.
func lockMeters(ctx context.Context, tx pgx.Tx, readings []reading) (map[meterKey]mark, error) {
	const q = `
		INSERT INTO usage.meters AS m (namespace, meter, counted_till, value, rest)
		SELECT namespace, meter, @never, 0, 0 FROM unnest(@namespaces::text[], @meters::text[]) AS r (namespace, meter)
		ORDER BY namespace, meter
		ON CONFLICT (namespace, meter) DO UPDATE SET seen_at = now()
		RETURNING namespace, meter, counted_till, value, rest`
	names := make([]string, len(readings))
	meters := make([]string, len(readings))
	for i, r := range readings {
		names[i], meters[i] = r.Namespace, r.Meter
	}
	rows, _ := tx.Query(ctx, q, pgx.NamedArgs{"namespaces": names, "meters": meters, "never": never}) // ForEachRow reports the error
	out := map[meterKey]mark{}
	var k meterKey
	var m mark
	_, err := pgx.ForEachRow(rows, []any{&k.Namespace, &k.Meter, &m.Till, &m.Value, &m.Rest}, func() error {
		if m.Till.Equal(never) {
			m.Till = time.Time{}
		}
		out[k] = m
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("lock meters: %w", err)
	}
	return out, nil
}

func moveMeters(ctx context.Context, tx pgx.Tx, to map[meterKey]mark) error {
	if len(to) == 0 {
		return nil
	}
	const q = `
		UPDATE usage.meters AS m
		SET counted_till = r.till, value = r.value, rest = r.rest
		FROM unnest(@namespaces::text[], @meters::text[], @tills::timestamptz[], @values::bigint[], @rests::bigint[])
			AS r (namespace, meter, till, value, rest)
		WHERE m.namespace = r.namespace AND m.meter = r.meter`
	var names, meters []string
	var tills []time.Time
	var values, rests []int64
	for k, m := range to {
		names, meters = append(names, k.Namespace), append(meters, k.Meter)
		tills, values, rests = append(tills, m.Till), append(values, m.Value), append(rests, m.Rest)
	}
	_, err := tx.Exec(ctx, q, pgx.NamedArgs{"namespaces": names, "meters": meters, "tills": tills, "values": values, "rests": rests})
	if err != nil {
		return fmt.Errorf("move meters: %w", err)
	}
	return nil
}
