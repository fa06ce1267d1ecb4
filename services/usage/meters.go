package usage

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// mark is up to where a meter is counted. That of one that was never read is the
// zero mark.
type mark struct {
	Till  time.Time
	Value int64
	Rest  int64
}

// meterKey names a meter of a namespace.
type meterKey struct{ Namespace, Meter string }

// reading is a look at a meter. It answers what has come since a mark, and the
// mark to go on from: a reading that is missed is in the next one, one that comes
// twice adds nothing.
type reading struct {
	meterKey
	at    time.Time // when what it measures began, or now
	since func(mark) (mark, tally)
}

// atOnce is how many meters one transaction counts.
const atOnce = 500

// count counts what meters have come to, each once, and answers the namespaces
// that have used something.
func (d db) count(ctx context.Context, readings []reading) (used []string, err error) {
	// In order, so that transactions which count the same meters wait for each
	// other and do not lock each other out.
	slices.SortFunc(readings, func(a, b reading) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Meter, b.Meter))
	})
	for some := range slices.Chunk(readings, atOnce) {
		var t tally
		err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) (err error) {
			t, err = countIn(ctx, tx, some)
			return err
		})
		if err != nil {
			return used, fmt.Errorf("count meters: %w", err)
		}
		for k := range t {
			used = append(used, k.Namespace)
		}
	}
	slices.Sort(used)
	return slices.Compact(used), nil
}

func countIn(ctx context.Context, tx pgx.Tx, readings []reading) (tally, error) {
	marks, err := lockMeters(ctx, tx, readings)
	if err != nil {
		return nil, err
	}
	sum, moved := tally{}, map[meterKey]mark{}
	for _, r := range readings {
		was := marks[r.meterKey]
		is, t := r.since(was)
		if is == was {
			continue
		}
		moved[r.meterKey] = is
		for k, a := range t {
			sum.add(k, *a)
		}
	}
	if err := moveMeters(ctx, tx, moved); err != nil {
		return nil, err
	}
	return sum, add(ctx, tx, sum)
}

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

// wholeSeconds counts the whole seconds from a mark, or the start, up to till.
// Each counts in the day in which it began.
func wholeSeconds(was mark, started, till time.Time, k key, of func(seconds int64) amounts) (mark, tally) {
	from := was.Till
	if from.Before(started) {
		from = started
	}
	from = from.UTC()
	left := int64(till.Sub(from) / time.Second)
	if left <= 0 {
		return was, nil
	}
	t := tally{}
	for left > 0 {
		k.Day = dayOf(from)
		today := k.Day.AddDate(0, 0, 1).Sub(from)
		n := min(left, int64((today+time.Second-1)/time.Second))
		t.add(k, of(n))
		from, left = from.Add(time.Duration(n)*time.Second), left-n
	}
	return mark{Till: from}, t
}
