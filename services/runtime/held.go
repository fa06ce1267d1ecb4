package runtime

import (
	"context"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/tenants"
)

// heldBack says why a service may have no containers, "" if it may.
func (s *Service) heldBack(ctx context.Context, k key) (string, error) {
	t, err := s.peers.Tenants.Of(ctx, k.Namespace)
	if err != nil {
		return "", err
	}
	if why := t.Stopped(); why != "" {
		return why, nil
	}
	if x := t.Throttle(k.Name); x.Action == tenants.Stop {
		return "held back: " + x.Reason, nil
	}
	return "", nil
}

// release starts what may run again.
func (r *reconciler) release(ctx context.Context) error {
	held, err := r.svc.db.held(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, rev := range held {
		why, err := r.svc.heldBack(ctx, rev.key)
		if err == nil && why == "" {
			r.log.Info("a service may run again", "revision", rev.String())
			err = r.svc.db.release(ctx, rev)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// holdBack removes what there is of a revision but its image. It gets another
// account when it starts again, since nodes of one that was evicted are refused.
func (r *reconciler) holdBack(ctx context.Context, rev revision) error {
	if err := r.removeAll(ctx, rev, 0); err != nil {
		return err
	}
	why, err := r.svc.heldBack(ctx, rev.key)
	if err != nil {
		return err
	}
	r.log.Info("a service is held back", "revision", rev.String())
	return r.svc.db.rest(ctx, rev, why)
}

// checkPlan holds a service to what the plan of its namespace allows, and
// answers how many services there may be.
func (s *Service) checkPlan(ctx context.Context, namespace string, instances int64) (services int, err error) {
	t, err := s.peers.Tenants.Of(ctx, namespace)
	if err != nil {
		return 0, err
	}
	if t.Gone() {
		return 0, errors.New(codes.NotFound, "namespace %s is erased", namespace)
	}
	if l := t.Limits.Replicas; !l.Allows(instances) {
		return 0, plans.Over(plans.Met{Plan: t.Plan, Limit: "replicas", Most: l, Remedy: "ask for fewer"}, "options.instances is %d: a service may have %d replicas", instances, l)
	}
	services = s.opts.Services
	if l := t.Limits.Services; !l.Allows(int64(services)) {
		services = int(l)
	}
	return services, nil
}
