package builder

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/builder/image"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/modproxy"
	"github.com/micro/platform/internal/seal"
	"github.com/micro/platform/internal/tenants"
	builderpb "github.com/micro/platform/proto/builder"
)

// poll is how often the streams look for news. A look is one row by its key.
const poll = 150 * time.Millisecond

// Service implements the Builder RPCs.
type Service struct {
	builderpb.UnsafeBuilderServer

	db        db
	box       *seal.Box
	images    *image.Builder
	framework *modproxy.Module
	tenants   *tenants.Tenants      // set before the first call
	jobs      *river.Client[pgx.Tx] // set before the first call
	opts      Options
}

// New makes a Service. Its builds wait until there are workers.
func New(pool *pgxpool.Pool, box *seal.Box, images *image.Builder, framework *modproxy.Module, o Options) *Service {
	return &Service{db: db{pool}, box: box, images: images, framework: framework, opts: o}
}

// Build enqueues a build.
func (s *Service) Build(ctx context.Context, req *builderpb.BuildRequest) (*builderpb.BuildResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	if err := check(req, s.opts.GitHosts); err != nil {
		return nil, err
	}
	id := fromProto(req.GetId())
	noTime := s.checkMinutes(ctx, id.Namespace)
	b := build{Source: req.GetSource(), Upload: req.GetUpload(), Ref: req.GetRef(), Entrypoint: req.GetEntrypoint()}
	if c := req.GetGitCredentials(); c != "" {
		b.Credentials = s.box.Seal([]byte(c), owner(id))
	}
	isNew := false
	err := pgx.BeginFunc(ctx, s.db.pool, func(tx pgx.Tx) (err error) {
		if isNew, err = s.db.insert(ctx, tx, id, b, s.opts.Queue); err != nil || !isNew {
			return err
		}
		if noTime != nil {
			return noTime
		}
		if _, err := s.jobs.InsertTx(ctx, tx, job{id}, nil); err != nil {
			return fmt.Errorf("enqueue build: %w", err)
		}
		return nil
	})
	rsp := &builderpb.BuildResponse{}
	if err == nil && !isNew {
		rsp.Again, err = s.buildAgain(ctx, id, b, noTime)
	}
	if err != nil {
		return nil, err
	}
	return rsp, nil
}

// buildAgain enqueues a build that has ended and whose image is gone: of the
// source that it was, and the commit.
func (s *Service) buildAgain(ctx context.Context, id image.ID, b build, noTime error) (again bool, err error) {
	was, err := s.db.state(ctx, id)
	if err != nil || !was.ended() || was.Image == "" {
		return false, err
	}
	has, err := s.images.Has(ctx, was.Image)
	if err != nil {
		return false, errors.New(codes.Unavailable, "it is not known whether the image of %s is there, try again", id.Service).Because(err)
	}
	if has {
		return false, nil
	}
	if noTime != nil {
		return false, noTime
	}
	err = pgx.BeginFunc(ctx, s.db.pool, func(tx pgx.Tx) error {
		var err error
		if again, err = s.db.requeue(ctx, tx, id, was.Image, b.Credentials); err != nil || !again {
			return err
		}
		if _, err := s.jobs.InsertTx(ctx, tx, job{id}, nil); err != nil {
			return fmt.Errorf("enqueue build: %w", err)
		}
		return nil
	})
	return again, err
}

// checkMinutes refuses builds beyond the plan. It is FailedPrecondition, since
// trying again does not help before the next month.
func (s *Service) checkMinutes(ctx context.Context, namespace string) error {
	t, err := s.tenants.Of(ctx, namespace)
	if err != nil || t.Limits.BuildMinutes.Unlimited() {
		return err
	}
	spent, err := s.db.minutes(ctx, namespace)
	if err != nil {
		return err
	}
	if spent < float64(t.Limits.BuildMinutes) {
		return nil
	}
	return errors.New(codes.FailedPrecondition, "%s", plans.OverText(t.Plan, "build_minutes", "wait for the next month", "%d minutes of building are used this month", t.Limits.BuildMinutes))
}

// owner is what sealed credentials belong to.
func owner(id image.ID) string {
	return fmt.Sprintf("%s/%s/%s/%d", id.Namespace, id.Service, id.Version, id.Revision)
}

// Sealed is what is sealed with the cluster secret.
func Sealed() []seal.Column {
	return []seal.Column{{
		What: "credentials of builds", Box: "builder", Table: "builder.builds", Key: []string{"namespace", "service", "version", "revision"},
		Read: "credentials", Write: "credentials = $1",
		Owner: func(k []any) string {
			return owner(image.ID{Namespace: k[0].(string), Service: k[1].(string), Version: k[2].(string), Revision: k[3].(int64)})
		},
	}}
}

// Watch streams the state of a build until it has ended.
func (s *Service) Watch(req *builderpb.WatchRequest, stream grpc.ServerStreamingServer[builderpb.State]) error {
	ctx := stream.Context()
	if err := identity.RequireComponent(ctx); err != nil {
		return err
	}
	id := fromProto(req.GetId())
	var last *state
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		now, err := s.db.state(ctx, id)
		if err != nil {
			return err
		}
		if last == nil || now != *last {
			last = &now
			if err := stream.Send(now.toProto()); err != nil {
				return err
			}
		}
		if now.ended() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Logs streams the log of a build.
func (s *Service) Logs(req *builderpb.LogsRequest, stream grpc.ServerStreamingServer[builderpb.LogChunk]) error {
	ctx := stream.Context()
	if err := identity.RequireComponent(ctx); err != nil {
		return err
	}
	id := fromProto(req.GetId())
	var seq int64
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		// The state first: what is said before the end is in the log then.
		now, err := s.db.state(ctx, id)
		if err != nil {
			return err
		}
		pieces, err := s.db.logs(ctx, id, seq)
		if err != nil {
			return err
		}
		for _, p := range pieces {
			seq = p.Seq
			if err := stream.Send(&builderpb.LogChunk{Data: p.Data}); err != nil {
				return err
			}
		}
		if len(pieces) > 0 {
			continue
		}
		if now.ended() || !req.GetFollow() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Cancel stops a build. Its worker notices at its next heartbeat.
func (s *Service) Cancel(ctx context.Context, req *builderpb.CancelRequest) (*builderpb.CancelResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	id := fromProto(req.GetId())
	if _, err := s.db.state(ctx, id); err != nil {
		return nil, err
	}
	return &builderpb.CancelResponse{}, s.db.cancel(ctx, id)
}

// Forget deletes finished builds with their logs and images.
func (s *Service) Forget(ctx context.Context, req *builderpb.ForgetRequest) (*builderpb.ForgetResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	id := fromProto(req.GetId())
	if id.Namespace == "" {
		return nil, errors.New(codes.InvalidArgument, "id.namespace is empty")
	}
	if err := s.images.Forget(ctx, id); err != nil {
		return nil, errors.New(codes.Unavailable, "the images of %s cannot be removed now, try again", id.Service).Because(err)
	}
	return &builderpb.ForgetResponse{}, s.db.forget(ctx, id)
}

// Hosts implements the RPC.
func (s *Service) Hosts(ctx context.Context, _ *builderpb.HostsRequest) (*builderpb.HostsResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	x, err := s.images.Sandbox(ctx)
	if err != nil {
		return nil, errors.New(codes.Unavailable, "Docker does not answer the builder, try again").Because(err)
	}
	return &builderpb.HostsResponse{Hosts: []*builderpb.Host{{Name: x.Host, Runtime: x.Runtime, Gvisor: x.GVisor, Problem: x.Problem}}}, nil
}

func fromProto(id *builderpb.ID) image.ID {
	return image.ID{Namespace: id.GetNamespace(), Service: id.GetService(), Version: id.GetVersion(), Revision: id.GetRevision()}
}

func (s state) toProto() *builderpb.State {
	m := &builderpb.State{Phase: s.Phase, Step: s.Step, Reason: s.Reason, Commit: s.Commit}
	if s.Phase == builderpb.State_SUCCEEDED { // else it is the one that is gone
		m.Image = s.Image
	}
	return m
}

func (s state) ended() bool {
	return s.Phase != builderpb.State_QUEUED && s.Phase != builderpb.State_RUNNING
}
