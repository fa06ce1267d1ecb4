package namespaces

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

// limits bounds what strangers can make the platform do. Their counters may be
// lost: Redis starts with none.
type limits struct {
	redis  redis.UniversalClient
	pepper pepper
}

// limit is so many times in so much time.
type limit struct {
	kind    string
	subject string
	times   int
	within  time.Duration
	reason  string
}

// mail allows one mail to an address, as far as anybody can tell: who asks too
// often learns nothing about the address.
func (l limits) mail(ctx context.Context, a address, source string) error {
	all := []limit{
		{"mail", "everybody", 200, time.Minute, "too many people are signing up at once"},
		{"minute", a.mailbox, 1, time.Minute, "a code was asked for a moment ago"},
		{"day", a.mailbox, 5, 24 * time.Hour, "too many codes were asked for"},
	}
	if subject, ok := sourceOf(source); ok {
		all = append([]limit{{"source", subject, 20, 24 * time.Hour, "too many codes were asked for from your network"}}, all...)
	}
	return l.take(ctx, all)
}

// check allows one attempt with a code.
func (l limits) check(ctx context.Context, source string) error {
	subject, ok := sourceOf(source)
	if !ok {
		return nil
	}
	return l.take(ctx, []limit{{"check", subject, 20, time.Minute, "too many attempts"}})
}

// sourceOf is who a source address stands for: the whole of a customer's
// network for IPv6. Loopback is a developer, or a proxy that stands for all.
func sourceOf(source string) (string, bool) {
	ip, err := netip.ParseAddr(source)
	if err != nil || ip.IsLoopback() {
		return "", false
	}
	ip = ip.Unmap()
	if ip.Is6() {
		if network, err := ip.WithZone("").Prefix(64); err == nil {
			return network.String(), true
		}
	}
	return ip.String(), true
}

// take counts against all limits or against none.
func (l limits) take(ctx context.Context, all []limit) error {
	for i, one := range all {
		wait, err := l.count(ctx, one)
		if err == nil && wait == 0 {
			continue
		}
		for _, taken := range all[:i] {
			if e := l.giveBack(ctx, taken); e != nil && err == nil {
				err = e
			}
		}
		if err != nil {
			return errors.New(codes.Unavailable, "sign-up is not possible now, try again in a moment").Because(err)
		}
		return errors.New(codes.ResourceExhausted, "%s: try again in %s", one.reason, inWords(wait))
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

func (l limits) count(ctx context.Context, x limit) (time.Duration, error) {
	ms, err := l.redis.Eval(ctx, counting, []string{l.key(x)}, x.times, x.within.Milliseconds()).Int64()
	if err != nil {
		return 0, fmt.Errorf("count %s: %w", x.kind, err)
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// returning takes one off a counter that is still there.
const returning = `
	if redis.call('EXISTS', KEYS[1]) == 1 then
		redis.call('DECR', KEYS[1])
	end
	return 0`

func (l limits) giveBack(ctx context.Context, x limit) error {
	if err := l.redis.Eval(ctx, returning, []string{l.key(x)}).Err(); err != nil {
		return fmt.Errorf("give back %s: %w", x.kind, err)
	}
	return nil
}

// key names a counter without saying whose it is.
func (l limits) key(x limit) string {
	return "namespaces:{" + hex.EncodeToString(l.pepper.sum(x.subject)[:16]) + "}:" + x.kind
}
