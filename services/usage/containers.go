package usage

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/internal/identity"
	schedulerpb "github.com/micro/platform/proto/scheduler"
)

const (
	// sampleEvery is how often running containers are counted.
	sampleEvery = 30 * time.Second
	// sampleWithin bounds that.
	sampleWithin = 20 * time.Second
	mib          = 1 << 20
)

// sampleLoop counts what containers have of CPU and memory until ctx ends.
func (s *Service) sampleLoop(ctx context.Context, scheduler schedulerpb.SchedulerClient) error {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		if err := s.sample(ctx, scheduler); err != nil && ctx.Err() == nil {
			s.log.DebugContext(ctx, "containers are counted later", "cause", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// sample counts every running container up to now. A sample that is missed is in
// the next one; one that is taken twice adds nothing.
func (s *Service) sample(ctx context.Context, scheduler schedulerpb.SchedulerClient) error {
	ctx, cancel := context.WithTimeout(ctx, sampleWithin)
	defer cancel()
	rsp, err := scheduler.List(identity.AsComponent(ctx), &schedulerpb.ListRequest{})
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	now := s.now().Truncate(time.Second)
	for _, d := range rsp.GetDeployments() {
		t, err := s.keeper.tenants.Of(ctx, d.GetId().GetNamespace())
		if err != nil {
			return err
		}
		if t.Gone() {
			continue
		}
		for _, i := range d.GetInstances() {
			err := s.db.countContainer(ctx, d.GetId().GetNamespace(), i.GetContainer(), time.Unix(i.GetStarted(), 0), now, func(from, till time.Time) tally {
				return containerTally(d.GetId(), t.Limits, from, till)
			})
			if err != nil {
				return err
			}
		}
		s.keeper.mark(d.GetId().GetNamespace())
	}
	return nil
}

// containerTally is what a container has had, by day: what its plan gives it,
// used or not. Without a limit there is nothing to count.
func containerTally(id *schedulerpb.ID, limits *plans.Limits, from, till time.Time) tally {
	t := tally{}
	for from.Before(till) {
		end := dayOf(from).AddDate(0, 0, 1)
		if till.Before(end) {
			end = till
		}
		seconds := int64(end.Sub(from) / time.Second)
		t.add(key{Namespace: id.GetNamespace(), Day: dayOf(from), Service: id.GetService()}, amounts{
			CPUMilliSeconds: seconds * max(0, int64(limits.CPU)), MemoryMiBSeconds: seconds * max(0, int64(limits.Memory)) / mib,
		})
		from = end
	}
	return t
}

// countContainer adds what a container has come to since it was last counted, or
// started.
func (d db) countContainer(ctx context.Context, namespace, container string, started, till time.Time, count func(from, till time.Time) tally) error {
	const begin = `
		INSERT INTO usage.containers (namespace, container, counted_till, egress_bytes)
		VALUES ($1, $2, $3, 0)
		ON CONFLICT (namespace, container) DO NOTHING`
	const lock = `SELECT counted_till FROM usage.containers WHERE namespace = $1 AND container = $2 FOR UPDATE`
	const move = `UPDATE usage.containers SET counted_till = $3 WHERE namespace = $1 AND container = $2`
	err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, begin, namespace, container, started); err != nil {
			return err
		}
		var from time.Time
		if err := tx.QueryRow(ctx, lock, namespace, container).Scan(&from); err != nil {
			return err
		}
		if started.After(from) { // it was started again
			from = started
		}
		if !from.Before(till) {
			return nil
		}
		if _, err := tx.Exec(ctx, move, namespace, container, till); err != nil {
			return err
		}
		return add(ctx, tx, count(from, till))
	})
	if err != nil {
		return fmt.Errorf("count a container: %w", err)
	}
	return nil
}
