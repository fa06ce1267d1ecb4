package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// pending keeps what somebody has begun and is to finish soon: a sign-in, a
// ceremony, a code that a terminal shows. It may be lost: one begins again.
type pending struct {
	redis redis.UniversalClient
}

// errNotPending is what was finished, has expired, or never was.
var errNotPending = errors.New("nothing of that name is pending")

// key hides the name, which opens what is kept.
func (p pending) key(kind, name string) string { return "auth:{" + digest(kind, name) + "}:" + kind }

func (p pending) put(ctx context.Context, kind, name string, value any, life time.Duration) error {
	b, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode %s: %w", kind, err)
	}
	if err := p.redis.Set(ctx, p.key(kind, name), b, life).Err(); err != nil {
		return fmt.Errorf("keep %s: %w", kind, err)
	}
	return nil
}

// change replaces what is pending, for as long as it has left.
func (p pending) change(ctx context.Context, kind, name string, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode %s: %w", kind, err)
	}
	err = p.redis.SetArgs(ctx, p.key(kind, name), b, redis.SetArgs{Mode: "XX", KeepTTL: true}).Err()
	if errors.Is(err, redis.Nil) {
		return errNotPending
	}
	if err != nil {
		return fmt.Errorf("change %s: %w", kind, err)
	}
	return nil
}

// take answers what is pending, once: of two who take it one gets it.
func (p pending) take(ctx context.Context, kind, name string, value any) error {
	return decode(kind, p.redis.GetDel(ctx, p.key(kind, name)), value)
}

// see answers what is pending, and leaves it there.
func (p pending) see(ctx context.Context, kind, name string, value any) error {
	return decode(kind, p.redis.Get(ctx, p.key(kind, name)), value)
}

func decode(kind string, got *redis.StringCmd, value any) error {
	b, err := got.Bytes()
	if errors.Is(err, redis.Nil) {
		return errNotPending
	}
	if err != nil {
		return fmt.Errorf("get %s: %w", kind, err)
	}
	if err := json.Unmarshal(b, value); err != nil {
		return fmt.Errorf("read %s: %w", kind, err)
	}
	return nil
}
