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

// over is the error of who has all keys or bytes that it may have.
func (l limits) over(u unit, what string) error {
	kind, name := "records", what
	if u.table == "" {
		kind, name = "blobs", map[string]string{"keys": "blobs", "bytes": "blob_bytes"}[what]
	}
	if what == "keys" {
		return errors.New(codes.ResourceExhausted, "limit %s: namespace %s may have %d %s on plan %s: delete some, or move to a larger plan",
			name, u.namespace, l.of(u).keys, kind, l.plan)
	}
	if l.together != math.MaxInt64 {
		kind, name = "records and blobs", "store_bytes"
	}
	return errors.New(codes.ResourceExhausted, "limit %s: the %s of namespace %s may have %d bytes on plan %s: delete some, or move to a larger plan",
		name, kind, u.namespace, l.of(u).bytes, l.plan)
}
