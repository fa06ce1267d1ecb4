package usage

import (
	"context"
	"fmt"
	"time"

	"github.com/micro/platform/internal/identity"
	schedulerpb "github.com/micro/platform/proto/scheduler"
)

const mib = 1 << 20

// containers counts what containers of services have come to.
func (s *Service) containers(ctx context.Context) error {
	rsp, err := s.parts.scheduler.Containers(identity.AsComponent(ctx), &schedulerpb.ContainersRequest{})
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	now := s.now()
	var readings []reading
	for _, c := range rsp.GetContainers() {
		readings = append(readings, containerReading(c, now))
	}
	return s.count(ctx, readings)
}

// containerReading counts what a container is given, used or not, for every
// second that it is there.
func containerReading(c *schedulerpb.Container, now time.Time) reading {
	started, till := time.UnixMilli(c.GetStarted()), now
	if c.GetEnded() > 0 {
		till = time.UnixMilli(c.GetEnded())
	}
	k := key{Namespace: c.GetNamespace(), Service: c.GetService()}
	return reading{meterKey{c.GetNamespace(), "container " + c.GetContainer()}, started, func(was mark) (mark, tally) {
		return wholeSeconds(was, started, till, k, func(n int64) amounts {
			return amounts{CPUMilliSeconds: n * c.GetMillicores(), MemoryMiBSeconds: n * c.GetMemory() / mib}
		})
	}}
}
