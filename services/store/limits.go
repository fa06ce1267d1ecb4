package store

import (
	"context"
	"math"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/framework/errors"
)

// limits is what a namespace may have: what its plan says, and what the settings
// say where the plan has no limit.
type limits struct {
	plan           string
	records, blobs size
	together       int64 // bytes of records and blobs; math.MaxInt64 without a limit of the plan
	value          int   // bytes
}

func (s *Service) limits(ctx context.Context, namespace string) (limits, error) {
	t, err := s.tenants.Of(ctx, namespace)
	if err != nil {
		return limits{}, err
	}
	if t.Gone() {
		return limits{}, errors.New(codes.NotFound, "namespace %s is erased", namespace)
	}
	o := s.opts
	l := limits{
		plan: t.Plan, together: math.MaxInt64, value: o.MaxValue,
		records: size{lessOf(t.Limits.Keys, o.MaxKeys), o.MaxBytes}, blobs: size{o.MaxBlobs, o.MaxBlobBytes},
	}
	if p := t.Limits.StoreBytes; !p.Unlimited() {
		l.together, l.records.bytes, l.blobs.bytes = int64(p), int64(p), int64(p)
	}
	if p := t.Limits.ValueBytes; !p.Unlimited() {
		l.value = int(min(int64(p), int64(o.MaxValue)))
	}
	return l, nil
}

// lessOf is a plan's limit, or the setting where the plan has none.
func lessOf(plan plans.Limit, setting int64) int64 {
	if plan.Unlimited() {
		return setting
	}
	return int64(plan)
}

// of answers what all tables of a unit's kind may have.
func (l limits) of(u unit) size {
	if u.table == "" {
		return l.blobs
	}
	return l.records
}

// failure is what a caller is told of a change that was not made.
func (l limits) failure(u unit, c change, o outcome) error {
	switch {
	case o.result == "condition" && c.condition == "absent":
		return errors.New(codes.AlreadyExists, "key %q exists, with version %d", errors.Clip(c.key), o.version)
	case o.result == "condition" && o.version == 0:
		return errors.New(codes.FailedPrecondition, "key %q does not exist, so it has no version %s", errors.Clip(c.key), c.condition)
	case o.result == "condition":
		return errors.New(codes.FailedPrecondition, "key %q has version %d, not %s: read it again", errors.Clip(c.key), o.version, c.condition)
	case o.result == "keys" || o.result == "bytes":
		return l.over(u, o.result)
	default:
		return nil
	}
}

// over is the error of who has all keys or bytes that it may have: by its plan,
// or by the server's settings, which no plan changes.
func (l limits) over(u unit, what string) error {
	kind, most := "records", l.of(u)
	if u.table == "" {
		kind = "blobs"
	}
	switch {
	case what == "bytes" && l.together != math.MaxInt64:
		return plans.Over(plans.Met{Plan: l.plan, Limit: "store_bytes", Most: plans.Limit(most.bytes), Remedy: "delete some"},
			"the records and blobs of namespace %s may have %d bytes", u.namespace, most.bytes)
	case what == "bytes":
		return errors.New(codes.ResourceExhausted, "the %s of namespace %s may have %d bytes on this server: delete some", kind, u.namespace, most.bytes)
	case u.table == "":
		return errors.New(codes.ResourceExhausted, "namespace %s may have %d %s on this server: delete some", u.namespace, most.keys, kind)
	}
	return plans.Over(plans.Met{Plan: l.plan, Limit: "keys", Most: plans.Limit(most.keys), Remedy: "delete some"}, "namespace %s may have %d records", u.namespace, most.keys)
}
