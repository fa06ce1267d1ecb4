package usage

import (
	"context"
	"time"

	"github.com/micro/platform/internal/app"
)

// sampleWithin bounds one look at all meters of a kind.
const sampleWithin = 20 * time.Second

// sampleLoop reads meters until ctx ends, and now and then deletes what is old.
func (s *Service) sampleLoop(ctx context.Context) error {
	last := map[string]time.Time{}
	return app.Every(ctx, s.opts.Sample, func() {
		for _, x := range append(s.samplers(), sampler{"old", retainEvery, s.retain}) {
			now := time.Now()
			if now.Sub(last[x.kind]) < x.every {
				continue
			}
			if err := within(ctx, x.sample); err == nil {
				last[x.kind] = now
			} else if ctx.Err() == nil {
				s.log.DebugContext(ctx, "meters are read later", "kind", x.kind, "error", err)
			}
		}
	})
}

// sampler is a look at meters of a kind.
type sampler struct {
	kind   string
	every  time.Duration // 0 is each time
	sample func(context.Context) error
}

// samplers are the looks at meters.
func (s *Service) samplers() []sampler {
	return []sampler{
		{"containers", 0, s.containers}, {"builds", 0, s.builds}, {"egress", 0, s.egress},
		{"stored", s.opts.SampleStored, s.stored},
	}
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
