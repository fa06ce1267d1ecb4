package usage

import (
	"context"
	"time"
)

// sampleWithin bounds one look at all meters of a kind.
const sampleWithin = 20 * time.Second

// sampleLoop reads meters until ctx ends.
func (s *Service) sampleLoop(ctx context.Context) error {
	tick := time.NewTicker(s.opts.Sample)
	defer tick.Stop()
	for {
		for kind, sample := range s.samplers() {
			if err := within(ctx, sample); err != nil && ctx.Err() == nil {
				s.log.DebugContext(ctx, "meters are read later", "kind", kind, "cause", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// samplers are the looks at meters, by kind.
func (s *Service) samplers() map[string]func(context.Context) error {
	return map[string]func(context.Context) error{"containers": s.containers, "builds": s.builds, "egress": s.egress}
}

func within(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, sampleWithin)
	defer cancel()
	return f(ctx)
}

// count counts meters, but for those of namespaces that are erased, and has the
// budgets looked at of those who have used something.
func (s *Service) count(ctx context.Context, readings []reading) error {
	kept := readings[:0]
	for _, r := range readings {
		lost, err := s.lost(ctx, r.Namespace, r.at)
		if err != nil {
			return err
		}
		if !lost {
			kept = append(kept, r)
		}
	}
	used, err := s.db.count(ctx, kept)
	for _, namespace := range used {
		s.keeper.mark(namespace)
	}
	return err
}
