package events

import (
	"context"
	"fmt"

	"github.com/micro/platform/internal/identity"
	eventspb "github.com/micro/platform/proto/events"
)

// erasePage is how many topics one Erase removes.
const erasePage = 100

// components is the API events.Components, for the platform alone.
type components struct {
	eventspb.UnsafeComponentsServer
	*Service
}

// Erase implements Components.
func (s components) Erase(ctx context.Context, req *eventspb.EraseRequest) (*eventspb.EraseResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	ns := req.GetNamespace()
	if !namespaceRule.MatchString(ns) {
		return nil, invalid("namespace %q: lower-case letters, digits and hyphens", clip(ns))
	}
	removed, err := s.erase(ctx, ns)
	if err == nil && removed < erasePage {
		err = s.db.forgetNamespace(ctx, ns)
	}
	if err != nil {
		return nil, away("erase namespace", err)
	}
	return &eventspb.EraseResponse{Done: removed < erasePage, Topics: int64(removed)}, nil
}

// erase removes up to erasePage topics. Their consumers are cut off.
func (s *Service) erase(ctx context.Context, ns string) (removed int, err error) {
	names, err := s.db.topics(ctx, ns)
	if err != nil {
		return 0, err
	}
	for _, name := range names[:min(len(names), erasePage)] {
		t, err := newTopic(ns, name)
		if err != nil {
			return removed, err
		}
		if err := s.db.remove(ctx, t); err != nil {
			return removed, err
		}
		if err := s.db.wake(ctx, t.key()); err != nil {
			return removed, err
		}
		removed++
	}
	return removed, nil
}

// forgetNamespace takes a namespace without topics out of the list.
func (d db) forgetNamespace(ctx context.Context, ns string) error {
	if err := d.client.SRem(ctx, namespaces, ns).Err(); err != nil {
		return fmt.Errorf("forget namespace: %w", err)
	}
	left, err := d.client.SCard(ctx, topics(ns)).Result()
	if err == nil && left > 0 { // made meanwhile
		err = d.client.SAdd(ctx, namespaces, ns).Err()
	}
	if err != nil {
		return fmt.Errorf("forget namespace: %w", err)
	}
	return nil
}
