package events

import (
	"context"
	"time"
)

// sweepLoop removes events whose time is up. A pass that fails is made up for
// by the next. Several processes may sweep at once.
func (s *Service) sweepLoop(ctx context.Context) error {
	tick := time.NewTicker(s.opts.Sweep)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "old events were not removed", "error", err)
		}
	}
}

func (s *Service) sweep(ctx context.Context) error {
	all, err := s.db.namespaces(ctx)
	if err != nil {
		return err
	}
	older := s.now().Add(-s.opts.MaxAge)
	for _, ns := range all {
		names, err := s.db.topics(ctx, ns)
		if err != nil {
			return err
		}
		for _, name := range names {
			t, err := newTopic(ns, name)
			if err != nil {
				return err
			}
			if err := s.db.trim(ctx, t.key(), older, s.opts.MaxBytes); err != nil {
				return err
			}
		}
	}
	return nil
}
