package registry

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	registrypb "github.com/micro/platform/proto/registry"
)

// The actions of a Result.
const (
	created = "create"
	updated = "update"
	deleted = "delete"
	ready   = "ready" // the snapshot is complete
)

// snapshotPage is how many versions are read at once.
const snapshotPage = 200

// listenTimeout bounds the wait for the connection that hears of changes.
const listenTimeout = 5 * time.Second

// Watch implements Registry. The watcher is there before the snapshot is read,
// so nothing is missed between them; what changes meanwhile may be told twice.
func (s *Service) Watch(req *registrypb.WatchRequest, stream grpc.ServerStreamingServer[registrypb.Result]) error {
	ctx := stream.Context()
	ns, err := identity.Member(ctx, req.GetOptions().GetDomain())
	if err != nil {
		return err
	}
	w, err := s.watch(ctx, ns, req.GetService())
	if err != nil {
		return err
	}
	defer s.hub.remove(w)
	if caller, _ := identity.From(ctx); ns == everything && caller.IsComponent() {
		if err := s.snapshot(ctx, w, stream); err != nil {
			return err
		}
	}
	for {
		results, err := w.next(ctx)
		if err != nil {
			return err
		}
		for _, r := range results {
			if err := stream.Send(r); err != nil {
				return err
			}
		}
	}
}

func (s *Service) watch(ctx context.Context, namespace, service string) (*watcher, error) {
	ctx, cancel := context.WithTimeout(ctx, listenTimeout)
	defer cancel()
	if err := s.hub.wait(ctx); err != nil {
		return nil, errors.New(codes.Unavailable, "changes cannot be watched now, try again").Because(err)
	}
	return s.hub.add(namespace, service)
}

func (s *Service) snapshot(ctx context.Context, w *watcher, stream grpc.ServerStreamingServer[registrypb.Result]) error {
	var after key
	for {
		found, err := s.db.page(ctx, after, snapshotPage)
		if err != nil {
			return err
		}
		for _, e := range found {
			after = e.key
			if len(e.Nodes) == 0 || w.service != "" && w.service != e.Service {
				continue
			}
			v, err := toService(e)
			if err != nil {
				return err
			}
			if err := stream.Send(&registrypb.Result{Action: created, Service: v}); err != nil {
				return err
			}
		}
		if len(found) < snapshotPage {
			return stream.Send(&registrypb.Result{Action: ready})
		}
	}
}
