package runtime

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"gocloud.dev/gcerrors"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/framework/errors"
	authpb "github.com/micro/platform/proto/auth"
	builderpb "github.com/micro/platform/proto/builder"
	registrypb "github.com/micro/platform/proto/registry"
	schedulerpb "github.com/micro/platform/proto/scheduler"
)

// How long the calls of a step may take.
const (
	callTimeout   = 30 * time.Second
	removeTimeout = 2 * time.Minute // containers get their time to end
)

// step does what a revision needs in the state it is in, and moves it to the
// next. Each step may have been done before, in part or as a whole.
func (r *reconciler) step(ctx context.Context, it item, st state) error {
	switch {
	case it.Orphan:
		return r.removeOrphan(ctx, deploymentKey{it.key, it.Number})
	case it.Number == 0:
		return r.finish(ctx, it.key)
	}
	rev, err := r.svc.db.revision(ctx, it.key, it.Number)
	if errors.Code(err) == codes.NotFound || err == nil && rev.State != st {
		return nil
	}
	if err != nil {
		return err
	}
	switch {
	case rev.State == stopping:
		return r.stop(ctx, rev)
	case rev.State == failed:
		return r.clean(ctx, rev)
	case rev.Held && rev.State == starting:
		return r.holdBack(ctx, rev)
	}
	err = r.advance(ctx, rev)
	if f, ok := final(err); ok && ctx.Err() == nil {
		if f.unbuilt {
			if sent, err := r.buildAgain(ctx, rev); sent || err != nil {
				return err
			}
		}
		r.log.Info("a revision failed", "revision", rev.String(), "state", string(rev.State))
		return r.svc.db.move(ctx, rev, broke, f.reason, pgx.NamedArgs{"tail": f.tail})
	}
	return err
}

// advance takes a revision a step nearer to running. It has its time for that,
// whatever it waits for.
func (r *reconciler) advance(ctx context.Context, rev revision) error {
	within, cancel := context.WithDeadline(ctx, rev.Since.Add(r.svc.opts.Timeout))
	defer cancel()
	var err error
	switch rev.State {
	case pending:
		err = r.enqueue(within, rev)
	case building:
		err = r.build(within, rev)
	case starting:
		err = r.start(within, rev)
	}
	if err == nil || within.Err() == nil || ctx.Err() != nil {
		return err
	}
	return r.late(ctx, rev)
}

// late says what a revision has waited for in vain.
func (r *reconciler) late(ctx context.Context, rev revision) error {
	now, err := r.svc.db.revision(ctx, rev.key, rev.Number)
	if err != nil {
		return err
	}
	if rev.State == building {
		if err := r.cancelBuild(ctx, rev); err != nil {
			r.log.Warn("a build that took too long could not be canceled", "revision", rev.String(), "error", err)
		}
	}
	return failure{reason: fmt.Sprintf("given up after %v: %s", r.svc.opts.Timeout, reasonOr(strings.TrimSuffix(now.Reason, tryingAgain), string(rev.State)))}
}

// failure is an outcome that trying again does not change.
type failure struct {
	reason string
	tail   string // the last lines of the process
	// unbuilt says that it is for want of an image, which there was.
	unbuilt bool
}

func (f failure) Error() string { return f.reason }

// final says whether an error ends a revision: what a step found out, or what
// another component refuses for good.
func final(err error) (failure, bool) {
	var f failure
	if errors.As(err, &f) {
		return f, true
	}
	switch errors.Code(err) {
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange:
		return failure{reason: detail(err)}, true
	}
	return failure{}, false
}

// detail is what another component said, without the words that its error was
// wrapped in.
func detail(err error) string {
	var s interface{ GRPCStatus() *status.Status }
	if errors.As(err, &s) {
		err = s.GRPCStatus().Err()
	}
	return errors.FromError(err).Detail
}

// build is where its image comes from.
func (rev revision) build() *builderpb.ID {
	return &builderpb.ID{Namespace: rev.Namespace, Service: rev.Name, Version: rev.Version, Revision: rev.builtAs()}
}

func (rev revision) builtAs() int64 { return cmp.Or(rev.Build, rev.Number) }

// enqueue hands a revision to the builder.
func (r *reconciler) enqueue(ctx context.Context, rev revision) error {
	if err := r.order(ctx, rev); err != nil {
		return err
	}
	return r.svc.db.move(ctx, rev, enqueued, "waiting for the builder", nil)
}

func (r *reconciler) order(ctx context.Context, rev revision) error {
	_, err := r.svc.order(ctx, rev)
	return err
}

// order has a revision built, unless it is or was.
func (s *Service) order(ctx context.Context, rev revision) (*builderpb.BuildResponse, error) {
	sp, err := s.openSpec(rev.key, rev.Spec)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	rsp, err := s.peers.Builder.Build(ctx, &builderpb.BuildRequest{
		Id: rev.build(), Source: rev.Source, Upload: rev.Upload, Ref: ref(rev), Entrypoint: sp.Entrypoint,
		GitCredentials: sp.Secrets[gitCredentials],
	})
	if err != nil {
		return nil, fmt.Errorf("order build: %w", err)
	}
	return rsp, nil
}

// ref is what to check out of a git source.
func ref(rev revision) string {
	if rev.Upload != "" {
		return ""
	}
	return rev.Version
}

// build follows a build to its end.
func (r *reconciler) build(ctx context.Context, rev revision) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := r.svc.peers.Builder.Watch(ctx, &builderpb.WatchRequest{Id: rev.build()})
	if err != nil {
		return fmt.Errorf("watch build: %w", err)
	}
	for {
		b, err := stream.Recv()
		if errors.Code(err) == codes.NotFound {
			return errors.Join(err, r.order(ctx, rev)) // it lost the build: the next attempt finds the new one
		}
		if err != nil {
			return fmt.Errorf("watch build: %w", err)
		}
		switch b.GetPhase() {
		case builderpb.State_SUCCEEDED:
			return r.svc.db.move(ctx, rev, built, "starting", pgx.NamedArgs{"image": b.GetImage(), "commit": b.GetCommit()})
		case builderpb.State_FAILED:
			return failure{reason: reasonOr(b.GetReason(), "the build failed: its log says why")}
		case builderpb.State_CANCELED:
			return failure{reason: reasonOr(b.GetReason(), "the build was canceled")}
		case builderpb.State_QUEUED:
			err = r.svc.db.note(ctx, rev, reasonOr(b.GetStep(), "waiting for the builder"))
		default:
			err = r.svc.db.note(ctx, rev, reasonOr(b.GetStep(), "building"))
		}
		if err != nil {
			return err
		}
	}
}

// start makes a revision serve: account, containers, registration. The one before
// it keeps its routes until this one is written down as its successor, and loses
// them when it is stopped.
func (r *reconciler) start(ctx context.Context, rev revision) error {
	why, err := r.svc.heldBack(ctx, rev.key)
	if err != nil {
		return err
	}
	if why != "" {
		return r.svc.db.hold(ctx, rev, why)
	}
	rev, secret, err := r.account(ctx, rev)
	if err != nil {
		return err
	}
	done, err := r.turn(ctx, rev)
	if err != nil {
		return err
	}
	defer done()
	before, _, _ := r.deployments.get(rev.id())
	if err := r.apply(ctx, rev, secret); err != nil {
		return err
	}
	if err := r.awaitAnswer(ctx, rev, before); err != nil {
		return err
	}
	if err := r.awaitNodes(ctx, rev); err != nil {
		return err
	}
	s, _, _ := r.deployments.get(rev.id())
	return r.svc.db.promote(ctx, rev, len(s.GetInstances()))
}

// account makes the account that a revision's processes log in with. Its
// secret is kept until the revision ends, so that a deployment can be made
// again.
func (r *reconciler) account(ctx context.Context, rev revision) (revision, string, error) {
	if rev.Account == "" {
		sealed := r.svc.box.Seal([]byte(randomHex(32)), rev.String())
		if err := r.svc.db.setAccount(ctx, rev, accountID(rev), sealed); err != nil {
			return rev, "", err
		}
		written, err := r.svc.db.revision(ctx, rev.key, rev.Number)
		if err != nil {
			return rev, "", err
		}
		if rev = written; rev.Account == "" {
			return rev, "", fmt.Errorf("%s is no longer starting", rev)
		}
	}
	secret, err := r.svc.box.Open(rev.Secret, rev.String())
	if err != nil {
		return rev, "", fmt.Errorf("open secret of %s: %w", rev, err)
	}
	sp, err := r.svc.openSpec(rev.key, rev.Spec)
	if err != nil {
		return rev, "", err
	}
	// Finished even if the revision is dismissed meanwhile: what removes the
	// account must come after what makes it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	_, err = r.svc.peers.Auth.Generate(ctx, &authpb.GenerateRequest{
		Id: rev.Account, Secret: string(secret), Type: "service", Scopes: []string{"service"},
		Metadata: accountMetadata(map[string]string{"service": rev.Name, "version": rev.Version, "revision": strconv.FormatInt(rev.Number, 10)}, sp),
		Options:  &authpb.Options{Namespace: rev.Namespace},
	})
	if err == nil {
		return rev, string(secret), nil
	}
	// An earlier attempt may have made it: then its secret is ours.
	_, known := r.svc.peers.Auth.Token(ctx, &authpb.TokenRequest{Id: rev.Account, Secret: string(secret), Options: &authpb.Options{Namespace: rev.Namespace}})
	if known != nil {
		return rev, "", fmt.Errorf("make account: %w", err)
	}
	return rev, string(secret), nil
}

// accountID names the account of a revision, for people; its end makes it
// unique, also among services whose names and versions read the same together.
func accountID(rev revision) string {
	version := strings.ReplaceAll(rev.Version, "/", "-")
	return fmt.Sprintf("%.40s-%.30s-r%d-%s", rev.Name, version, rev.Number, randomHex(4))
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// apply hands a revision to the scheduler.
func (r *reconciler) apply(ctx context.Context, rev revision, secret string) error {
	sp, err := r.svc.openSpec(rev.key, rev.Spec)
	if err != nil {
		return err
	}
	t, err := r.svc.peers.Tenants.Of(ctx, rev.Namespace)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout) // finished, as in account
	defer cancel()
	_, err = r.svc.peers.Scheduler.Apply(ctx, &schedulerpb.ApplyRequest{Deployment: &schedulerpb.Deployment{
		Id: rev.id().message(), Image: rev.Image, Env: environment(rev, sp, secret),
		Command: sp.Command, Args: sp.Args, Instances: rev.wanted(sp),
		Millicores: size(t.Limits.CPU), Memory: size(t.Limits.Memory), Disk: size(t.Limits.Disk),
		Hosts: sp.Hosts,
	}})
	if err != nil {
		return fmt.Errorf("apply deployment: %w", err)
	}
	return nil
}

// wanted is how many instances a revision is to have.
func (rev revision) wanted(sp spec) int64 { return max(cmp.Or(rev.Instances, sp.Instances), 1) }

// size is a limit as the scheduler takes it: unlimited is what it gives by
// itself.
func size(l plans.Limit) int64 {
	if l.Unlimited() {
		return 0
	}
	return max(int64(l), 1)
}

// environment is what the processes of a revision are started with, beside what
// the scheduler adds. Services built on Micro v3, on v4 and on our framework
// read different names of the same things.
func environment(rev revision, sp spec, secret string) []string {
	env := slices.Clone(sp.Env)
	for _, name := range slices.Sorted(maps.Keys(sp.Secrets)) {
		if name != gitCredentials {
			env = append(env, name+"="+sp.Secrets[name])
		}
	}
	return append(env,
		"HOME=/home/micro", "USER=micro",
		"MICRO_NAMESPACE="+rev.Namespace,
		"MICRO_SERVICE_NAME="+rev.Name,
		"MICRO_SERVICE_VERSION="+rev.Version,
		"MICRO_CLIENT_ID="+rev.Account, "MICRO_CLIENT_SECRET="+secret,
		"MICRO_AUTH_ID="+rev.Account, "MICRO_AUTH_SECRET="+secret,
		"MICRO_PROFILE=service", "MICRO_SERVICE_PROFILE=client",
		"MICRO_REPORT_USAGE=false",
	)
}

func (r *reconciler) evict(ctx context.Context, rev revision) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := r.svc.peers.Nodes.Evict(ctx, &registrypb.NodesRequest{Domain: rev.Namespace, Account: rev.Account}); err != nil {
		return fmt.Errorf("evict nodes: %w", err)
	}
	return nil
}

// stop removes what there is of a revision that is not wanted.
func (r *reconciler) stop(ctx context.Context, rev revision) error {
	if rev.Image == "" {
		if err := r.cancelBuild(ctx, rev); err != nil {
			return err
		}
	}
	deleted, err := r.svc.db.deleted(ctx, rev.key)
	if err != nil {
		return err
	}
	drain := r.svc.opts.Drain
	if deleted || !rev.Ran {
		drain = 0 // nobody has calls there, or all are to end
	}
	if err := r.removeAll(ctx, rev, drain); err != nil {
		return err
	}
	return r.svc.db.move(ctx, rev, removed, rev.Reason, nil)
}

// clean removes what a failed start has left.
func (r *reconciler) clean(ctx context.Context, rev revision) error {
	if err := r.removeAll(ctx, rev, 0); err != nil {
		return err
	}
	return r.svc.db.clearAccount(ctx, rev)
}

// removeAll removes routes, containers and account, in this order: calls stop
// coming, those in hand get the time of drain, and nothing is left that could log
// in.
func (r *reconciler) removeAll(ctx context.Context, rev revision, drain time.Duration) error {
	if rev.Account == "" {
		return nil // nothing was made yet
	}
	if err := r.evict(ctx, rev); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, drain+removeTimeout)
	defer cancel()
	ended := r.witness(ctx, rev)
	_, err := r.svc.peers.Scheduler.Remove(ctx, &schedulerpb.RemoveRequest{Id: rev.id().message(), Drain: drain.Milliseconds()})
	ends := ended()
	if err != nil {
		return fmt.Errorf("remove deployment: %w", err)
	}
	if rev.Ran || rev.Held { // what never ran has its lines in its tail
		err = r.svc.db.addEnds(ctx, rev, ends)
	}
	if err != nil {
		return err
	}
	_, err = r.svc.peers.Accounts.Delete(ctx, &authpb.DeleteAccountRequest{Id: rev.Account, Options: &authpb.Options{Namespace: rev.Namespace}})
	// Micro answers InvalidArgument for an account that is not there.
	if c := errors.Code(err); c != codes.OK && c != codes.NotFound && c != codes.InvalidArgument {
		return fmt.Errorf("delete account: %w", err)
	}
	return nil
}

// cancelBuild ends a build and waits until it has ended.
func (r *reconciler) cancelBuild(ctx context.Context, rev revision) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := r.svc.peers.Builder.Cancel(ctx, &builderpb.CancelRequest{Id: rev.build()})
	if errors.Code(err) == codes.NotFound {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cancel build: %w", err)
	}
	stream, err := r.svc.peers.Builder.Watch(ctx, &builderpb.WatchRequest{Id: rev.build()})
	for err == nil {
		_, err = stream.Recv()
	}
	if err != io.EOF && errors.Code(err) != codes.NotFound {
		return fmt.Errorf("wait for canceled build: %w", err)
	}
	return nil
}

func (r *reconciler) forgetBuild(ctx context.Context, rev revision) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := r.svc.peers.Builder.Forget(ctx, &builderpb.ForgetRequest{Id: rev.build()})
	if err != nil && errors.Code(err) != codes.NotFound {
		return fmt.Errorf("forget build: %w", err)
	}
	return nil
}

// finish removes the rest of a deleted service.
func (r *reconciler) finish(ctx context.Context, k key) error {
	all, err := r.svc.db.revisions(ctx, k)
	if err != nil {
		return err
	}
	for _, rev := range all {
		if err := r.forgetBuild(ctx, rev); err != nil {
			return err
		}
	}
	uploads, err := r.svc.db.uploadsBefore(ctx, k)
	if err != nil {
		return err
	}
	if err := r.svc.discard(ctx, uploads); err != nil {
		return err
	}
	return r.svc.db.forget(ctx, k)
}

// gone says whether a blob is not in the bucket.
func gone(err error) bool { return gcerrors.Code(err) == gcerrors.NotFound }
