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
