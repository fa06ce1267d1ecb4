package usage

import (
	"context"
	"fmt"
	"time"

	"github.com/micro/platform/internal/identity"
	builderpb "github.com/micro/platform/proto/builder"
)

// builds counts attempts at builds until there are no more that have ended. The
// builder forgets those when they are counted, and not before.
func (s *Service) builds(ctx context.Context) error {
	req := &builderpb.AttemptsRequest{}
	for {
		rsp, err := s.parts.builder.Attempts(identity.AsComponent(ctx), req)
		if err != nil {
			return fmt.Errorf("list attempts at builds: %w", err)
		}
		var readings []reading
		req = &builderpb.AttemptsRequest{}
		for _, a := range rsp.GetAttempts() {
			readings = append(readings, attemptReading(a))
			if a.GetEnded() {
				req.Counted = append(req.Counted, a)
			}
		}
		if err := s.count(ctx, readings); err != nil || len(req.Counted) == 0 {
			return err
		}
	}
}

// attemptReading counts the seconds of an attempt: those of one that has ended
// are rounded up together.
func attemptReading(a *builderpb.Attempt) reading {
	id := a.GetId()
	started, till := time.UnixMicro(a.GetStarted()), time.UnixMicro(a.GetUntil())
	if a.GetEnded() {
		till = till.Add(time.Second - time.Microsecond)
	}
	k := key{Namespace: id.GetNamespace(), Service: id.GetService()}
	name := fmt.Sprintf("build %s/%s/%d/%d %d", id.GetService(), id.GetVersion(), id.GetRevision(), a.GetAttempt(), a.GetStarted())
	return reading{meterKey{id.GetNamespace(), name}, started, func(was mark) (mark, tally) {
		return wholeSeconds(was, started, till, k, func(n int64) amounts { return amounts{BuildSeconds: n} })
	}}
}
