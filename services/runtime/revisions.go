package runtime

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	runtimepb "github.com/micro/platform/proto/runtime"
)

// Revisions answers the revisions that are kept of a service.
func (s *Service) Revisions(ctx context.Context, req *runtimepb.RevisionsRequest) (*runtimepb.RevisionsResponse, error) {
	namespace, err := identity.Member(ctx, req.GetOptions().GetNamespace())
	if err != nil {
		return nil, err
	}
	_, all, err := s.history(ctx, namespace, req.GetService(), req.GetVersion())
	if err != nil {
		return nil, err
	}
	able := s.rollbackable(all)
	rsp := &runtimepb.RevisionsResponse{}
	for _, rev := range all {
		m := rev.message()
		m.Kept = slices.ContainsFunc(able, func(a revision) bool { return a.Number == rev.Number })
		rsp.Revisions = append(rsp.Revisions, m)
	}
	return rsp, nil
}

// message is a revision as clients know it.
func (rev revision) message() *runtimepb.Revision {
	return &runtimepb.Revision{
		Number: rev.Number, Version: rev.Version, Source: rev.Source, Commit: rev.Commit, Created: rev.CreatedAt.UnixMilli(),
		Since: rev.Since.UnixMilli(), Author: rev.Author, Status: rev.State.status(), Detail: oneLine(rev.Reason), Image: rev.Image,
		BuiltAs: rev.Build, Instances: max(rev.Instances, 1), Ready: rev.answering(),
	}
}

// history answers a service that there is and its revisions, newest first.
func (s *Service) history(ctx context.Context, namespace, name, version string) (key, []revision, error) {
	name, version, err := checkName(name, version)
	if err != nil {
		return key{}, nil, err
	}
	k := key{namespace, name, version}
	all, err := s.db.revisions(ctx, k)
	if err == nil && len(all) == 0 {
		err = errNotFound
	}
	return k, all, err
}

// answering is how many instances answer. What was seen of one that has ended
// does not count.
func (rev revision) answering() int64 {
	if rev.serves() {
		return rev.Ready
	}
	return 0
}

// serves says whether a revision has the calls, or would if it had not crashed.
func (rev revision) serves() bool {
	return rev.Ran && rev.Account != "" && rev.State != stopping && rev.State != stopped
}

// rollbackable answers the revisions that ran and whose images are kept.
func (s *Service) rollbackable(all []revision) []revision {
	var out []revision
	for _, rev := range all {
		if rev.Ran && rev.Image != "" && !rev.serves() && len(out) < s.opts.Keep {
			out = append(out, rev)
		}
	}
	return out
}

// Rollback makes a new revision of one that ran.
func (s *Service) Rollback(ctx context.Context, req *runtimepb.RollbackRequest) (*runtimepb.RollbackResponse, error) {
	namespace, err := identity.Admin(ctx, req.GetOptions().GetNamespace())
	if err != nil {
		return nil, err
	}
	if req.GetRevision() < 0 {
		return nil, invalid("revision is %d: it counts from 1", req.GetRevision())
	}
	k, all, err := s.history(ctx, namespace, req.GetService(), req.GetVersion())
	if err != nil {
		return nil, err
	}
	r, err := idempotency(ctx, "Rollback", req)
	if err != nil {
		return nil, err
	}
	from, chosen := s.choose(all, req.GetRevision())
	if chosen == nil {
		if from, err = s.restore(ctx, from); err != nil {
			return nil, err
		}
	}
	number, err := s.db.change(ctx, k, r, s.opts.Services, func(old *existing) (plan, error) {
		if old == nil || old.Deleted {
			return plan{}, errNotFound
		}
		if old.Last != all[0].Number {
			return plan{}, errors.New(codes.Aborted, "%s was deployed at the same time: look at its revisions and try again", k.Name)
		}
		if chosen != nil {
			return plan{}, chosen
		}
		return s.again(ctx, k, old, from)
	})
	if err != nil {
		return nil, err
	}
	return &runtimepb.RollbackResponse{Revision: number, From: from.Number}, nil
}

// restore sees to it that a revision that is to run again can: one whose image is
// gone is built again, and answered without it, unless its source is gone, too.
func (s *Service) restore(ctx context.Context, rev revision) (revision, error) {
	if old, err := s.db.wanted(ctx, rev.key); old == nil || err != nil {
		return rev, err // it is deleted
	}
	if rev.Upload == "" && strings.HasPrefix(rev.Source, uploadScheme) {
		return rev, nil // the builder alone knows of which upload it is
	}
	rsp, err := s.order(identity.AsComponent(ctx), rev)
	if f, ok := final(err); ok {
		return rev, errors.New(codes.FailedPrecondition, "the image of revision %d is gone and cannot be built again: %s", rev.Number, f.reason).Because(err)
	}
	if err != nil || !rsp.GetAgain() {
		return rev, nil //nolint:nilerr // where the builder cannot be asked, the image may be there all the same
	}
	if rev.Upload != "" {
		if kept, err := s.bucket.Exists(ctx, rev.Upload); err != nil || !kept {
			return rev, errors.New(codes.FailedPrecondition, "the image of revision %d is gone, and so is the source that was uploaded for it: deploy it again", rev.Number).Because(err)
		}
	}
	rev.Image, rev.Commit = "", ""
	return rev, nil
}

// choose answers the revision to roll back to: that number, or with 0 the last
// one that ran before the one that serves.
func (s *Service) choose(all []revision, number int64) (revision, error) {
	serving := slices.IndexFunc(all, revision.serves)
	if number == 0 && serving > 0 && all[0].State == failed {
		return revision{}, errors.New(codes.FailedPrecondition, "revision %d failed and revision %d goes on serving, so there is nothing to undo: name a revision to have an earlier one",
			all[0].Number, all[serving].Number)
	}
	if serving >= 0 && number == all[serving].Number {
		return revision{}, errors.New(codes.FailedPrecondition, "revision %d is the one that serves", number)
	}
	for _, rev := range s.rollbackable(all) {
		if rev.Number == number || number == 0 && (serving < 0 || rev.Number < all[serving].Number) {
			return rev, nil
		}
	}
	if number == 0 {
		return revision{}, errors.New(codes.FailedPrecondition, "there is no revision before this one that ran")
	}
	if !slices.ContainsFunc(all, func(rev revision) bool { return rev.Number == number }) {
		return revision{}, errors.New(codes.NotFound, "there is no revision %d: the last %d that ran are kept", number, s.opts.Keep)
	}
	return revision{}, errors.New(codes.FailedPrecondition, "revision %d never ran, or its image is not kept any more", number)
}

// again plans a revision like one that was there before: what it was made of,
// with as many instances as there are to be now. Whoever asks gives the code no
// more than it had.
func (s *Service) again(ctx context.Context, k key, old *existing, from revision) (plan, error) {
	now, err := s.openSpec(k, old.Spec)
	if err != nil {
		return plan{}, err
	}
	sp, err := s.openSpec(k, from.Spec)
	if err != nil {
		return plan{}, err
	}
	sp.Instances = max(now.Instances, 1)
	if sp.Grants, err = narrow(sp.Grants, limitsOf(ctx)); err != nil {
		return plan{}, fmt.Errorf("limits of %s: %w", k, err)
	}
	sealed, err := s.sealSpec(k, sp)
	if err != nil {
		return plan{}, err
	}
	return plan{
		record: record{Source: from.Source, Spec: sealed, Metadata: old.Metadata, Owner: owner(ctx)},
		Upload: from.Upload, // kept while this one may need it
		Start:  true, Instances: sp.Instances, News: serviceUpdated,
		From: &copied{Image: from.Image, Commit: from.Commit, Build: from.builtAs()},
	}, nil
}

// Scale changes how many instances of a service run.
func (s *Service) Scale(ctx context.Context, req *runtimepb.ScaleRequest) (*runtimepb.ScaleResponse, error) {
	namespace, err := identity.Admin(ctx, req.GetOptions().GetNamespace())
	if err != nil {
		return nil, err
	}
	name, version, err := checkName(req.GetService(), req.GetVersion())
	if err != nil {
		return nil, err
	}
	n := req.GetInstances()
	if n < 1 || n > maxInstances {
		return nil, invalid("instances is %d: 1 to %d are possible; \"micro kill\" stops a service", n, maxInstances)
	}
	if _, err := s.checkPlan(ctx, namespace, n); err != nil {
		return nil, err
	}
	k := key{namespace, name, version}
	var before int64
	err = s.db.scale(ctx, k, n, func(sealed []byte) ([]byte, error) {
		sp, err := s.openSpec(k, sealed)
		if err != nil {
			return nil, err
		}
		before, sp.Instances = max(sp.Instances, 1), n
		return s.sealSpec(k, sp)
	})
	if err != nil {
		return nil, err
	}
	return &runtimepb.ScaleResponse{Before: before}, nil
}
