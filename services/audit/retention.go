package audit

import (
	"context"
	"time"

	"github.com/micro/platform/internal/app"
)

const (
	// removeEvery is how often old rows are looked for, and removePage how many of
	// a namespace go at once.
	removeEvery = time.Hour
	removePage  = 1000
)

// removeLoop removes what is older than the log is kept, until ctx ends.
func (s *Service) removeLoop(ctx context.Context) error {
	return app.Every(ctx, removeEvery, func() {
		if err := s.removeOld(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "old entries of the audit log were not removed, trying again", "error", err)
		}
	})
}

// removeOld removes the rows that are too old, a part of a namespace's at a time.
func (s *Service) removeOld(ctx context.Context) error {
	before := s.now().Add(-s.opts.Keep)
	for {
		names, err := s.db.withOld(ctx, before)
		if err != nil || len(names) == 0 {
			return err
		}
		for _, namespace := range names {
			if err := s.db.remove(ctx, namespace, before); err != nil {
				return err
			}
		}
	}
}
