package events

import (
	"context"
	"errors"
	"fmt"

	"github.com/micro/platform/internal/pause"
)

// sweepLoop removes events whose time is up. A pass that fails is made up for
// by the next. Several processes may sweep at once.
func (s *Service) sweepLoop(ctx context.Context) error {
	for range pause.Ticks(ctx, s.opts.Sweep) {
		if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "old events were not removed", "error", err)
		}
	}
	return nil
}

// sweep goes on after an error: one topic must not keep the others'.
func (s *Service) sweep(ctx context.Context) error {
	s.room.spaces.Prune()
	all, err := s.db.namespaces(ctx)
	if err != nil {
		return err
	}
	var wrong []error
	for _, ns := range all {
		wrong = append(wrong, s.sweepNamespace(ctx, ns))
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(wrong...)
}

func (s *Service) sweepNamespace(ctx context.Context, ns string) error {
	names, err := s.db.topics(ctx, ns)
	if err != nil {
		return err
	}
	age, err := s.limits.age(ctx, ns)
	if err != nil {
		return err
	}
	older := s.now().Add(-age)
	var wrong []error
	for _, name := range names {
		t, err := newTopic(ns, name)
		if err == nil {
			err = s.db.trim(ctx, t.key(), older, s.opts.MaxBytes)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("topic %q of %s: %w", name, ns, err))
		}
	}
	return errors.Join(wrong...)
}
