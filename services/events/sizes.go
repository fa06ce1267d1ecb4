package events

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/micro/platform/internal/identity"
	eventspb "github.com/micro/platform/proto/events"
)

// sizesPage is how many namespaces one answer of Sizes has.
const sizesPage = 100

// Sizes implements Components.
func (s components) Sizes(ctx context.Context, req *eventspb.SizesRequest) (*eventspb.SizesResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	all, err := s.db.namespaces(ctx)
	if err != nil {
		return nil, away("list namespaces", err)
	}
	slices.Sort(all)
	rsp := &eventspb.SizesResponse{}
	from, found := slices.BinarySearch(all, req.GetAfter())
	if found {
		from++
	}
	for _, ns := range all[from:min(from+sizesPage, len(all))] {
		bytes, err := s.db.size(ctx, ns)
		if err != nil {
			return nil, away("measure topics", err)
		}
		rsp.Namespaces = append(rsp.Namespaces, &eventspb.Size{Namespace: ns, Bytes: bytes})
	}
	return rsp, nil
}

// size answers how much memory a namespace's topics take.
func (d db) size(ctx context.Context, namespace string) (int64, error) {
	sizes, err := d.sizes(ctx, namespace)
	var sum int64
	for _, n := range sizes {
		sum += n
	}
	return sum, err
}

// sizes answers how much memory each topic of a namespace takes, by the
// stream's key.
func (d db) sizes(ctx context.Context, namespace string) (map[string]int64, error) {
	names, err := d.topics(ctx, namespace)
	if err != nil {
		return nil, err
	}
	asked := make(map[string]*redis.IntCmd, len(names))
	_, err = d.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, name := range names {
			t, err := newTopic(namespace, name)
			if err != nil {
				return err
			}
			asked[t.key()] = p.MemoryUsage(ctx, t.key())
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("measure topics: %w", err)
	}
	out := make(map[string]int64, len(asked))
	for key, n := range asked {
		out[key] = n.Val() // 0 for one that is gone
	}
	return out, nil
}
