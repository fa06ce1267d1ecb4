package usage

import (
	"context"
	"fmt"
	"time"

	"github.com/micro/platform/internal/identity"
	schedulerpb "github.com/micro/platform/proto/scheduler"
)

// egress counts what containers have sent to the internet, by namespace.
func (s *Service) egress(ctx context.Context) error {
	rsp, err := s.parts.scheduler.Egress(identity.AsComponent(ctx), &schedulerpb.EgressRequest{})
	if err != nil {
		return fmt.Errorf("read counters of egress: %w", err)
	}
	now := s.now()
	var readings []reading
	for _, e := range rsp.GetNamespaces() {
		t, err := s.keeper.tenants.Of(ctx, e.GetNamespace())
		if err != nil {
			return err
		}
		readings = append(readings, egressReading(e, now, !t.Since.IsZero()))
	}
	return s.count(ctx, readings)
}

// egressReading counts what a counter has come to since it was read, today. One
// that says less than before was set to nothing. What one says that is read for
// the first time may be another namespace's, which had the name before.
func egressReading(e *schedulerpb.Egress, now time.Time, reborn bool) reading {
	return reading{meterKey{e.GetNamespace(), "egress " + e.GetCounter()}, now, func(was mark) (mark, tally) {
		more, is := e.GetBytes()-was.Value, mark{Till: now, Value: e.GetBytes()}
		switch {
		case more == 0:
			return was, nil
		case was.Till.IsZero() && reborn:
			return is, nil
		case more < 0:
			more = e.GetBytes()
		}
		t := tally{}
		t.add(key{Namespace: e.GetNamespace(), Day: dayOf(now)}, amounts{EgressBytes: more})
		return is, t
	}}
}
