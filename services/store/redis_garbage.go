package store

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// note remembers an object that may belong to no blob, before it does not. When
// that was is by Redis' clock: by that of an instance which is hours off, another
// would delete what is still being written.
func (d db) note(ctx context.Context, u unit, g garbage) error {
	var now *redis.TimeCmd
	_, err := d.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.SAdd(ctx, namespacesKey, u.namespace)
		now = p.Time(ctx)
		return nil
	})
	if err != nil {
		return down("list namespace, ask for the time", err)
	}
	err = d.redis.ZAdd(ctx, garbageKey(u.namespace), redis.Z{Score: float64(now.Val().Unix()), Member: g.String()}).Err()
	if err != nil {
		return down("note object", err)
	}
	return nil
}

// unnote forgets an object that is gone, or in use.
func (d db) unnote(ctx context.Context, u unit, g garbage) error {
	if err := d.redis.ZRem(ctx, garbageKey(u.namespace), g.String()).Err(); err != nil {
		return down("forget object", err)
	}
	return nil
}

// noted answers objects that were noted that long ago.
func (d db) noted(ctx context.Context, u unit, age time.Duration) ([]garbage, error) {
	now, err := d.redis.Time(ctx).Result()
	if err != nil {
		return nil, down("ask for the time", err)
	}
	all, err := d.redis.ZRangeByScore(ctx, garbageKey(u.namespace), &redis.ZRangeBy{
		Min: "-inf", Max: strconv.FormatInt(now.Add(-age).Unix(), 10), Count: expireBatch,
	}).Result()
	if err != nil {
		return nil, down("list objects", err)
	}
	out := make([]garbage, len(all))
	for i, s := range all {
		out[i] = parseGarbage(s)
	}
	return out, nil
}
