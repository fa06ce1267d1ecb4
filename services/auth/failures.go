package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/netip"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

// failures slows down who guesses passwords. An account that has failed often
// waits, longer each time; an address that fails often waits for any account.
// Accounts are counted as they were typed, whether they exist or not. An address
// from which an account has logged in has a count of its own, so that nobody can
// lock its owner out by failing from elsewhere.
//
// Without Redis there is no count: the cost of the hash remains.
type failures struct {
	redis redis.UniversalClient
}

// attempt is a password login.
type attempt struct {
	namespace, id, address string
}

const (
	freeFailures    = 10               // of an account before it waits
	maxWait         = 15 * time.Minute // of an account
	remember        = 24 * time.Hour   // failures of an account
	known           = 30 * 24 * time.Hour
	addressFailures = 20 // of an address within a minute
)

// keys of one attempt. The braces keep a unit in one slot of a cluster.
func (f failures) keys(ctx context.Context, try attempt) (account, address string, err error) {
	account = "auth:{" + digest(try.namespace, try.id) + "}"
	if try.address == "" {
		return account + ":failures", "", nil
	}
	address = "auth:{" + digest(network(try.address)) + "}:address"
	trusted := account + ":known:" + digest(try.address)
	n, err := f.redis.Exists(ctx, trusted).Result()
	if n > 0 {
		return trusted + ":failures", address, err
	}
	return account + ":failures", address, err
}

// check refuses an attempt that comes too early.
func (f failures) check(ctx context.Context, try attempt, log *slog.Logger) error {
	account, address, err := f.keys(ctx, try)
	if err != nil {
		return uncounted(ctx, log, err)
	}
	wait, err := f.redis.PTTL(ctx, account+":wait").Result()
	if err != nil {
		return uncounted(ctx, log, err)
	}
	if address != "" {
		n, err := f.redis.Get(ctx, address).Int()
		if err != nil && err != redis.Nil {
			return uncounted(ctx, log, err)
		}
		if n >= addressFailures {
			left, err := f.redis.PTTL(ctx, address).Result()
			if err != nil {
				return uncounted(ctx, log, err)
			}
			wait = max(wait, left)
		}
	}
	if wait > 0 {
		return errors.New(codes.ResourceExhausted, "too many failed logins: try again in %v", wait.Round(time.Second)+time.Second)
	}
	return nil
}

// count notes a failure.
func (f failures) count(ctx context.Context, try attempt, log *slog.Logger) {
	account, address, err := f.keys(ctx, try)
	if err == nil {
		err = f.countAccount(ctx, account)
	}
	if err == nil && address != "" {
		_, err = f.redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Incr(ctx, address)
			p.ExpireNX(ctx, address, time.Minute)
			return nil
		})
	}
	if err != nil {
		uncounted(ctx, log, err) //nolint:errcheck // it answers nil
	}
}

func (f failures) countAccount(ctx context.Context, account string) error {
	n, err := f.redis.Incr(ctx, account).Result()
	if err != nil {
		return err
	}
	_, err = f.redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Expire(ctx, account, remember)
		if over := n - freeFailures; over >= 0 {
			p.Set(ctx, account+":wait", 1, min(maxWait, time.Second<<min(over, 20)))
		}
		return nil
	})
	return err
}

// forget starts the count anew after a good login, and remembers from where.
func (f failures) forget(ctx context.Context, try attempt, log *slog.Logger) {
	account, _, err := f.keys(ctx, try)
	if err == nil {
		err = f.redis.Del(ctx, account).Err()
	}
	if err == nil && try.address != "" {
		key := "auth:{" + digest(try.namespace, try.id) + "}:known:" + digest(try.address)
		err = f.redis.Set(ctx, key, 1, known).Err()
	}
	if err != nil {
		uncounted(ctx, log, err) //nolint:errcheck // it answers nil
	}
}

func uncounted(ctx context.Context, log *slog.Logger, err error) error {
	log.WarnContext(ctx, "failed logins are not counted", "error", err)
	return nil
}

// network is what one person has: an IPv4 address, or an IPv6 network of 64 bits.
func network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Unmap().Is4() {
		return address
	}
	p, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return address
	}
	return p.String()
}

// digest makes a name of a fixed length for a key, so that nothing that a
// caller typed is in it.
func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		sum := sha256.Sum256([]byte(p))
		h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
