package abuse

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/quota"
)

// Limiter counts for one component.
type Limiter struct {
	redis     redis.UniversalClient
	component string
	pepper    []byte
}

// New makes a Limiter. pepper hides what the keys are about.
func New(r redis.UniversalClient, component string, pepper []byte) Limiter {
	return Limiter{r, component, pepper}
}

// Limit is so many times in so much time.
type Limit struct {
	Kind    string
	Subject string // whom it is about
	Times   int
	Within  time.Duration
	Reason  string // for who is over it
}

// Forget starts the count of a limit anew.
func (l Limiter) Forget(ctx context.Context, x Limit) error {
	if err := l.redis.Del(ctx, l.key(x)).Err(); err != nil {
		return fmt.Errorf("forget count of %s: %w", x.Kind, err)
	}
	return nil
}

// Take counts against all limits or against none.
func (l Limiter) Take(ctx context.Context, all []Limit) error {
	for i, one := range all {
		wait, err := l.count(ctx, one)
		if err == nil && wait == 0 {
			continue
		}
		for _, taken := range all[:i] {
			if e := l.GiveBack(ctx, taken); e != nil && err == nil {
				err = e
			}
		}
		if err != nil {
			return errors.New(codes.Unavailable, "this is not possible now, try again in a moment").Because(err)
		}
		return errors.New(codes.ResourceExhausted, "%s: try again in %s", one.Reason, inWords(wait)).Because(&quota.Reached{Wait: wait})
	}
	return nil
}

func inWords(d time.Duration) string {
	switch {
	case d > 2*time.Hour:
		return fmt.Sprintf("%.0f hours", d.Hours())
	case d > 2*time.Minute:
		return fmt.Sprintf("%.0f minutes", d.Minutes())
	default:
		return fmt.Sprintf("%d seconds", int(d/time.Second)+1)
	}
}

// counting answers 0 and counts, or answers the milliseconds to wait.
const counting = `
	local n = tonumber(redis.call('GET', KEYS[1]) or '0')
	if n >= tonumber(ARGV[1]) then
		return math.max(redis.call('PTTL', KEYS[1]), 1)
	end
	if redis.call('INCR', KEYS[1]) == 1 then
		redis.call('PEXPIRE', KEYS[1], ARGV[2])
	end
	return 0`

func (l Limiter) count(ctx context.Context, x Limit) (time.Duration, error) {
	ms, err := l.redis.Eval(ctx, counting, []string{l.key(x)}, x.Times, x.Within.Milliseconds()).Int64()
	if err != nil {
		return 0, fmt.Errorf("count %s: %w", x.Kind, err)
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// returning takes one off a counter that is still there.
const returning = `
	if redis.call('EXISTS', KEYS[1]) == 1 then
		redis.call('DECR', KEYS[1])
	end
	return 0`

// GiveBack takes one off the count of a limit: what was counted does not count.
func (l Limiter) GiveBack(ctx context.Context, x Limit) error {
	if err := l.redis.Eval(ctx, returning, []string{l.key(x)}).Err(); err != nil {
		return fmt.Errorf("give back %s: %w", x.Kind, err)
	}
	return nil
}

// key names a counter without saying whose it is.
func (l Limiter) key(x Limit) string {
	mac := hmac.New(sha256.New, l.pepper)
	mac.Write([]byte(x.Subject))
	return l.component + ":{" + hex.EncodeToString(mac.Sum(nil)[:16]) + "}:" + x.Kind
}
