package events

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/internal/identity"
	eventspb "github.com/micro/platform/proto/events"
)

// Restore implements Stream.
func (s *Service) Restore(ctx context.Context, req *eventspb.RestoreRequest) (*eventspb.RestoreResponse, error) {
	ns, err := identity.Admin(ctx, req.GetNamespace())
	if err != nil {
		return nil, err
	}
	t, err := newTopic(ns, req.GetTopic())
	if err != nil {
		return nil, err
	}
	past, err := s.toPast(req.GetEvents())
	if err != nil {
		return nil, err
	}
	groups, err := s.toPlaces(ctx, t, req.GetGroups())
	if err != nil {
		return nil, err
	}
	if len(past) > 0 {
		if err := s.limits.publish(ctx, ns, len(past)); err != nil {
			return nil, err
		}
		blobs := make([][]byte, len(past))
		for i, b := range past {
			blobs[i] = b.blob
		}
		if err := s.room.take(ctx, t, blobs...); err != nil {
			return nil, err
		}
	}
	rsp := &eventspb.RestoreResponse{}
	err = s.makeTopic(ctx, t, func() error {
		if rsp.Restored, err = s.writer.restore(ctx, t, past); err != nil {
			return err
		}
		for name, after := range groups {
			if err := s.db.createGroup(ctx, t, name, after); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, away("restore", err)
	}
	return rsp, nil
}

// bygone is an event with the position that it had.
type bygone struct {
	at   position
	blob []byte
}

// restore writes events of the past, and answers how many were not there.
func (w *writer) restore(ctx context.Context, t topic, past []bygone) (int64, error) {
	if len(past) == 0 {
		return 0, nil
	}
	x := write{topic: t, create: true}
	for _, b := range past {
		x.blobs, x.at = append(x.blobs, b.blob), append(x.at, b.at)
	}
	ids, err := w.put(ctx, x)
	var n int64
	for _, id := range ids {
		if id != "" {
			n++
		}
	}
	return n, err
}

// toPast checks events of the past.
func (s *Service) toPast(events []*eventspb.Event) ([]bygone, error) {
	if n := len(events); n > maxBatch {
		return nil, invalid("events has at most %d, got %d", maxBatch, n)
	}
	out := make([]bygone, 0, len(events))
	var last position
	for i, e := range events {
		if err := checkEvent(e); err != nil {
			return nil, err
		}
		at, err := s.bygonePosition(e.GetId())
		if err != nil {
			return nil, err
		}
		if at.compare(last) <= 0 {
			return nil, invalid("events[%d]: id %q is not greater than the one before", i, clip(e.GetId()))
		}
		blob, err := proto.Marshal(&eventspb.Event{Metadata: e.GetMetadata(), Payload: e.GetPayload(), Timestamp: e.GetTimestamp()})
		if err != nil {
			return nil, fmt.Errorf("encode event: %w", err)
		}
		out, last = append(out, bygone{at, blob}), at
	}
	return out, nil
}

// bygonePosition reads an id with a mark or without. One of the future would be
// the newest of its topic for long.
func (s *Service) bygonePosition(id string) (position, error) {
	if strings.Count(id, "-") == 2 {
		id, _, _ = cutLast(id, "-")
	}
	at, err := parsePosition(id)
	if err != nil || at == (position{}) {
		return at, invalid("event id %q: not the id of an event", clip(id))
	}
	if at.ms > uint64(s.now().Add(clockSkew).UnixMilli()) {
		return at, invalid("event id %q is in the future", clip(id))
	}
	return at, nil
}

// toPlaces checks groups, of which the topic may have more.
func (s *Service) toPlaces(ctx context.Context, t topic, groups []*eventspb.Group) (map[string]position, error) {
	if len(groups) == 0 {
		return nil, nil
	}
	have, err := s.db.groups(ctx, t)
	if err != nil {
		return nil, away("list groups", err)
	}
	there := map[string]bool{}
	for _, g := range have {
		there[g.Name] = true
	}
	out := make(map[string]position, len(groups))
	for _, g := range groups {
		if g.GetName() == "" {
			return nil, invalid("Missing group")
		}
		if err := checkGroup(g.GetName()); err != nil {
			return nil, err
		}
		var at position
		if g.GetLast() != "" {
			if at, err = s.bygonePosition(g.GetLast()); err != nil {
				return nil, err
			}
		}
		if there[g.GetName()] {
			continue
		}
		if out[g.GetName()] = at; len(have)+len(out) > s.opts.MaxGroups {
			return nil, exhausted("topic %q has %d groups, which is the limit", t.name(), s.opts.MaxGroups)
		}
	}
	return out, nil
}
