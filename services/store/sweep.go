package store

import (
	"context"
	"crypto/rand"

	"github.com/micro/platform/internal/pause"
)

// sweepLoop gives back the room of what has expired. A pass that fails is made
// up for by the next.
func (s *Service) sweepLoop(ctx context.Context) error {
	process := rand.Text()
	for range pause.Ticks(ctx, s.opts.Sweep) {
		s.usage.Prune()
		// A little less than the time to the next tick: somebody takes it then.
		lead, err := s.db.lead(ctx, process, s.opts.Sweep*9/10)
		if err == nil && lead {
			err = s.sweep(ctx)
		}
		if err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "expired records were not swept", "error", err)
		}
	}
	return nil
}

// sweep deletes the expired records of all namespaces, and the objects in the
// bucket that no blob means.
func (s *Service) sweep(ctx context.Context) error {
	namespaces, err := s.db.namespaces(ctx)
	if err != nil {
		return err
	}
	for _, ns := range namespaces {
		tables, err := s.db.tables(ctx, ns)
		if err != nil {
			return err
		}
		for u := range tables {
			for n := int64(expireBatch); n == expireBatch; {
				if n, err = s.db.expire(ctx, u); err != nil {
					return err
				}
			}
		}
		if err := s.sweepObjects(ctx, ns); err != nil {
			return err
		}
	}
	return nil
}
