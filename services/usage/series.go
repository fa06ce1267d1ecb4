package usage

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// maxSeries is how many rows the figures of a namespace may have on a day. What
// is more counts for other, so that no sum is short.
const maxSeries = 1000

// other is the endpoint and the member of what has no row of its own.
const other = "other"

// namespaceDay is what rows are counted for.
type namespaceDay struct {
	Namespace string
	Day       time.Time
}

func (n namespaceDay) compare(o namespaceDay) int {
	return cmp.Or(cmp.Compare(n.Namespace, o.Namespace), n.Day.Compare(o.Day))
}

// bounded answers a tally in which keys that may have no new row are others.
// What it locks keeps the numbers of rows as they are until the end of the
// transaction.
func bounded(ctx context.Context, tx pgx.Tx, t tally) (tally, error) {
	of := map[namespaceDay][]key{}
	for _, r := range t.rows() {
		n := namespaceDay{r.Namespace, r.Day}
		of[n] = append(of[n], r.key)
	}
	rows, err := lockSeries(ctx, tx, slices.SortedFunc(maps.Keys(of), namespaceDay.compare))
	if err != nil {
		return nil, err
	}
	out := tally{}
	for n, keys := range of {
		room := maxSeries - rows[n]
		known := map[key]bool{}
		if len(keys) > room {
			if known, err = knownKeys(ctx, tx, keys); err != nil {
				return nil, err
			}
		}
		for _, k := range keys {
			a := *t[k]
			switch {
			case known[k]:
			case room > 0:
				room--
			default:
				k.Endpoint, k.Account = other, other
			}
			out.add(k, a)
		}
	}
	return out, nil
}
