package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/abuse"
	"github.com/micro/platform/internal/quota"
)

// failures slows down who guesses passwords. A network that has failed often
// with an account waits before it tries that account again, longer each time; a
// network that fails often waits for any account. Nobody else waits: who fails
// from elsewhere cannot lock an account's owner out, and where the owner has
// logged in before, others of the same network who guess at other accounts
// cannot either. Accounts are counted as they were typed, but for upper and lower
// case, whether they exist or not.
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
	freeFailures    = 10               // with an account, before the network waits
	maxWait         = 15 * time.Minute // with an account
	remember        = 24 * time.Hour   // failures
	known           = 30 * 24 * time.Hour
	addressFailures = 20  // of a network within a minute
	alarm           = 100 // failures with an account that operators hear of, and each time as many again
)

// counters of one attempt. The braces keep a unit in one slot of a cluster.
type counters struct {
	failures string // of the network with the account; with a wait beside it
	known    string // the account has logged in there
	network  string // failures of the network; none if it is not known
	total    string // failures with the account
}

func (try attempt) counters() counters {
	try.id = strings.ToLower(try.id) // addresses are found in any spelling
	unit := "auth:{" + digest(try.namespace, try.id, network(try.address)) + "}"
	c := counters{failures: unit + ":failures", known: unit + ":known", total: "auth:{" + digest(try.namespace, try.id) + "}:total"}
	if try.address != "" {
		c.network = "auth:{" + digest(network(try.address)) + "}:address"
	}
	return c
}

// check refuses an attempt that comes too early.
func (f failures) check(ctx context.Context, try attempt, log *slog.Logger) error {
	wait, err := f.wait(ctx, try.counters())
	if err != nil {
		log.WarnContext(ctx, uncounted, "error", err)
		return nil
	}
	if wait > 0 {
		return errors.New(codes.ResourceExhausted, "too many failed logins: try again in %v", wait.Round(time.Second)+time.Second).Because(&quota.Reached{Wait: wait})
	}
	return nil
}

func (f failures) wait(ctx context.Context, c counters) (time.Duration, error) {
	var account *redis.DurationCmd
	var known *redis.IntCmd
	_, err := f.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		account, known = p.PTTL(ctx, c.failures+":wait"), p.Exists(ctx, c.known)
		return nil
	})
	if err != nil || c.network == "" || known.Val() > 0 {
		return account.Val(), err
	}
	n, err := f.redis.Get(ctx, c.network).Int()
	if err == redis.Nil || err == nil && n < addressFailures {
		return account.Val(), nil
	}
	if err != nil {
		return 0, err
	}
	left, err := f.redis.PTTL(ctx, c.network).Result()
	return max(account.Val(), left), err
}

// count notes a failure.
func (f failures) count(ctx context.Context, try attempt, a account, log *slog.Logger) {
	c := try.counters()
	var failed, total *redis.IntCmd
	_, err := f.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		failed, total = p.Incr(ctx, c.failures), p.Incr(ctx, c.total)
		p.Expire(ctx, c.failures, remember)
		p.ExpireNX(ctx, c.total, remember)
		if c.network != "" {
			p.Incr(ctx, c.network)
			p.ExpireNX(ctx, c.network, time.Minute)
		}
		return nil
	})
	if over := failed.Val() - freeFailures; err == nil && over >= 0 {
		err = f.redis.Set(ctx, c.failures+":wait", 1, min(maxWait, time.Second<<min(over, 20))).Err()
	}
	if err != nil {
		log.WarnContext(ctx, uncounted, "error", err)
		return
	}
	if n := total.Val(); n%alarm == 0 && a.ID != "" {
		log.WarnContext(ctx, "an account's password is guessed at", "namespace", a.Namespace, "account", a.ID, "failures", n)
	}
}

// forget starts the counts anew after a good login, and remembers from where.
func (f failures) forget(ctx context.Context, try attempt, log *slog.Logger) {
	c := try.counters()
	_, err := f.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.Del(ctx, c.failures, c.failures+":wait")
		if try.address != "" {
			p.Set(ctx, c.known, 1, known)
		}
		return nil
	})
	if err != nil {
		log.WarnContext(ctx, uncounted, "error", err)
	}
}

// isKnown says whether the account has logged in from there lately.
func (f failures) isKnown(ctx context.Context, try attempt) (bool, error) {
	if try.address == "" {
		return false, nil
	}
	n, err := f.redis.Exists(ctx, try.counters().known).Result()
	if err != nil {
		return false, errors.New(codes.Unavailable, "this is not possible now, try again in a moment").Because(err)
	}
	return n > 0, nil
}

// uncounted is what operators hear when Redis is away.
const uncounted = "failed logins are not counted"

// network is what one person has: an IPv4 address, or an IPv6 network of 64 bits.
func network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	return abuse.Address(ip).String()
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
