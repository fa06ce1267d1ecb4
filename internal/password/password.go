// Package password hashes what people choose, with argon2id. Hashing is slow and
// takes memory on purpose, so a Hasher bounds how much of it happens at once.
package password

import (
	"context"
	"fmt"
	"runtime"

	"github.com/alexedwards/argon2id"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

// The least and the most bytes of a password.
const (
	MinLength = 8
	MaxLength = 256
)

// params are those that OWASP recommends: 19 MiB, two passes, one lane.
var params = argon2id.Params{Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// decoy is a hash of our parameters that no password has.
const decoy = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// maxWaiting bounds the queue for a turn. At 20 ms a hash it is about a second
// long on one core.
const maxWaiting = 64

// Hasher hashes and compares, as many at once as there are processors.
type Hasher struct {
	turn    chan struct{}
	waiting chan struct{}
}

// NewHasher makes a Hasher. A process needs one.
func NewHasher() *Hasher {
	n := runtime.GOMAXPROCS(0)
	return &Hasher{turn: make(chan struct{}, n), waiting: make(chan struct{}, n+maxWaiting)}
}

// Hash answers the hash of a password, with a salt of its own.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	done, err := h.wait(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	hash, err := argon2id.CreateHash(password, &params)
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	return hash, nil
}

// Match says whether hash is that of password.
func (h *Hasher) Match(ctx context.Context, password, hash string) (bool, error) {
	done, err := h.wait(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	ok, err := argon2id.ComparePasswordAndHash(password, hash)
	if err != nil {
		return false, fmt.Errorf("compare password: %w", err)
	}
	return ok, nil
}

// Pretend takes the time of Match, so that an account that does not exist
// answers no faster than one that does.
func (h *Hasher) Pretend(ctx context.Context, password string) error {
	_, err := h.Match(ctx, password, decoy)
	return err
}

// wait takes a turn, which done ends.
func (h *Hasher) wait(ctx context.Context) (done func(), err error) {
	select {
	case h.waiting <- struct{}{}:
	default:
		return nil, errors.New(codes.ResourceExhausted, "too many logins at once, try again in a moment")
	}
	select {
	case h.turn <- struct{}{}:
		return func() { <-h.turn; <-h.waiting }, nil
	case <-ctx.Done():
		<-h.waiting
		return nil, ctx.Err()
	}
}

// CheckHash refuses what is not a hash of this package, or would take much more
// to compare than ours do.
func CheckHash(hash string) error {
	p, salt, key, err := argon2id.DecodeHash(hash)
	if err != nil {
		return err
	}
	if p.Memory > 2*params.Memory || p.Iterations < 1 || p.Iterations > 2*params.Iterations || p.Parallelism < 1 || p.Parallelism > 4 || len(salt) < 8 || len(key) < 16 {
		return fmt.Errorf("argon2id with m=%d, t=%d, p=%d is not ours", p.Memory, p.Iterations, p.Parallelism)
	}
	return nil
}
