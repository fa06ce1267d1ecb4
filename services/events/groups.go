package events

import (
	"context"

	"github.com/micro/platform/internal/identity"
	eventspb "github.com/micro/platform/proto/events"
)

// groupsAPI implements Groups.
type groupsAPI struct {
	eventspb.UnsafeGroupsServer

	s *Service
}

// topic answers the topic that a request means, if there is one.
func (a groupsAPI) topic(ctx context.Context, namespace, name string) (topic, error) {
	ns, err := identity.Admin(ctx, namespace)
	if err != nil {
		return topic{}, err
	}
	t, err := newTopic(ns, name)
	if err != nil {
		return t, err
	}
	there, err := a.s.db.exists(ctx, t)
	if err == nil && !there {
		err = noTopic(t)
	}
	return t, away("look for topic", err)
}

// List implements Groups.
func (a groupsAPI) List(ctx context.Context, req *eventspb.ListGroupsRequest) (*eventspb.ListGroupsResponse, error) {
	t, err := a.topic(ctx, req.GetNamespace(), req.GetTopic())
	if err != nil {
		return nil, err
	}
	groups, err := a.s.db.groups(ctx, t)
	if err != nil {
		return nil, away("list groups", err)
	}
	rsp := &eventspb.ListGroupsResponse{}
	for _, g := range groups {
		v := &eventspb.Group{Name: g.Name, Lag: g.Lag, Pending: g.Pending}
		if g.LastDeliveredID != "0-0" {
			v.Last = t.eventID(g.LastDeliveredID)
		}
		if g.Pending > 0 {
			if v.FirstPending, err = a.s.db.firstPending(ctx, t, g.Name); err != nil {
				return nil, away("list groups", err)
			}
		}
		rsp.Groups = append(rsp.Groups, v)
	}
	return rsp, nil
}

// Seek implements Groups.
func (a groupsAPI) Seek(ctx context.Context, req *eventspb.SeekRequest) (*eventspb.SeekResponse, error) {
	t, err := a.topic(ctx, req.GetNamespace(), req.GetTopic())
	if err != nil {
		return nil, err
	}
	if err := checkSeek(req, a.s.now()); err != nil {
		return nil, err
	}
	newest, trimmed, err := a.s.db.span(ctx, t)
	if err != nil {
		return nil, away("describe topic", err)
	}
	var to position // of the start
	switch {
	case req.GetEnd():
		to = newest
	case req.GetSince() > 0:
		to = since(req.GetSince())
	case req.GetAfter() != "":
		if to, err = t.place(req.GetAfter(), newest, trimmed); err != nil {
			return nil, err
		}
	}
	if err := a.s.db.seek(ctx, t, req.GetGroup(), to); err != nil {
		return nil, away("move group", err)
	}
	if err := a.s.db.wake(ctx, t.key()); err != nil {
		return nil, away("wake the consumers", err)
	}
	lag, err := a.s.db.lag(ctx, t, req.GetGroup())
	return &eventspb.SeekResponse{Lag: lag}, away("describe group", err)
}

// Delete implements Groups.
func (a groupsAPI) Delete(ctx context.Context, req *eventspb.DeleteGroupRequest) (*eventspb.DeleteGroupResponse, error) {
	t, err := a.topic(ctx, req.GetNamespace(), req.GetTopic())
	if err != nil {
		return nil, err
	}
	if req.GetGroup() == "" {
		return nil, invalid("Missing group")
	}
	if err := checkGroup(req.GetGroup()); err != nil {
		return nil, err
	}
	if err := a.s.db.deleteGroup(ctx, t, req.GetGroup()); err != nil {
		return nil, away("delete group", err)
	}
	// Its consumers find out that it is gone.
	if err := a.s.db.wake(ctx, t.key()); err != nil {
		return nil, away("wake the consumers", err)
	}
	return &eventspb.DeleteGroupResponse{}, nil
}
