package usage

import (
	"context"
	"time"
)

const (
	// retainEvery is how often what is old is looked for.
	retainEvery = time.Hour
	// retainPage is how many days of namespaces one look changes.
	retainPage = 500
	// keepMetersFor is how long the mark of a container or an attempt is kept
	// that is not there any more.
	keepMetersFor = 7 * 24 * time.Hour
	// keepLogsFor is how long it is known how far an edge's log is folded after
	// its last record.
	keepLogsFor = 400 * 24 * time.Hour
)

// retain makes sums of what is old, and deletes what is older.
func (s *Service) retain(ctx context.Context) error {
	today := dayOf(s.now())
	old, err := s.db.daysBefore(ctx, today.AddDate(0, 0, -s.opts.KeepDetails), true)
	if err != nil {
		return err
	}
	for _, n := range old {
		if err := s.db.sumUp(ctx, n); err != nil {
			return err
		}
	}
	end := today.AddDate(0, 0, -s.opts.KeepDays)
	if old, err = s.db.daysBefore(ctx, end, false); err != nil {
		return err
	}
	for _, n := range old {
		if err := s.db.deleteDay(ctx, n); err != nil {
			return err
		}
	}
	return s.db.prune(ctx, end)
}
