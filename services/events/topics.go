package events

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	eventspb "github.com/micro/platform/proto/events"
)

// Register serves the APIs of events.
func (s *Service) Register(r grpc.ServiceRegistrar) {
	eventspb.RegisterStreamServer(r, s)
	eventspb.RegisterStoreServer(r, s)
	eventspb.RegisterTopicsServer(r, topicsAPI{s: s})
	eventspb.RegisterGroupsServer(r, groupsAPI{s: s})
	eventspb.RegisterComponentsServer(r, components{Service: s})
}

// place answers the position of an event's id, which must be one that is or was
// there and has only successors that are still there.
func (t topic) place(eventID string, newest, trimmed position) (position, error) {
	at, err := t.redisID(eventID)
	if err != nil {
		return at, err
	}
	if newest.compare(at) < 0 {
		return at, errors.New(codes.OutOfRange, "event id %q: topic %q has not come so far", clip(eventID), t.name())
	}
	if at.compare(trimmed) < 0 {
		return at, errors.New(codes.OutOfRange, "event id %q: offset expired, oldest is after %q", clip(eventID), t.eventID(trimmed.String()))
	}
	return at, nil
}

// topicsAPI implements Topics.
type topicsAPI struct {
	eventspb.UnsafeTopicsServer

	s *Service
}

// List implements Topics.
func (a topicsAPI) List(ctx context.Context, req *eventspb.ListTopicsRequest) (*eventspb.ListTopicsResponse, error) {
	ns, err := identity.Admin(ctx, req.GetNamespace())
	if err != nil {
		return nil, err
	}
	names, err := a.s.db.topics(ctx, ns)
	if err != nil {
		return nil, away("list topics", err)
	}
	rsp := &eventspb.ListTopicsResponse{}
	for _, name := range names {
		t, err := newTopic(ns, name)
		if err != nil {
			return nil, err
		}
		v, err := a.s.db.describe(ctx, t)
		if err != nil {
			return nil, away("describe topic", err)
		}
		rsp.Topics = append(rsp.Topics, v)
	}
	return rsp, nil
}

// Delete implements Topics.
func (a topicsAPI) Delete(ctx context.Context, req *eventspb.DeleteTopicRequest) (*eventspb.DeleteTopicResponse, error) {
	ns, err := identity.Admin(ctx, req.GetNamespace())
	if err != nil {
		return nil, err
	}
	t, err := newTopic(ns, req.GetTopic())
	if err != nil {
		return nil, err
	}
	there, err := a.s.db.exists(ctx, t)
	if err == nil && !there {
		err = noTopic(t)
	}
	if err == nil {
		err = a.s.db.remove(ctx, t)
	}
	if err == nil {
		a.s.room.spaces.Forget(ns)
		err = a.s.db.wake(ctx, t.key()) // its consumers find out that it is gone
	}
	if err != nil {
		return nil, away("delete topic", err)
	}
	return &eventspb.DeleteTopicResponse{}, nil
}

func noTopic(t topic) error { return errors.New(codes.NotFound, "no topic %q", t.name()) }
