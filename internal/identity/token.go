package identity

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/micro/platform/internal/grants"
)

// ErrExpired is a token that was good once. ErrInvalid is any other bad token;
// callers learn no more than that, but for ErrEarly, which is also ErrInvalid: a
// token of ours from the future.
var (
	ErrExpired = errors.New("token expired")
	ErrInvalid = errors.New("token invalid")
	ErrEarly   = fmt.Errorf("%w: a clock is off", ErrInvalid)
)

// Leeway is how far the clocks of who issues a token and who checks it may be
// apart: a token is good for that much longer, and before it was issued.
const Leeway = time.Minute

// maxToken bounds what is parsed at all. Ours are under 2 KiB.
const maxToken = 16 << 10

// Claims is the content of an access token, in the names that existing Micro
// clients read. The issuer is the namespace.
type Claims struct {
	jwt.RegisteredClaims
	Type     string            `json:"type"`
	Scopes   []string          `json:"scopes"`
	Metadata map[string]string `json:"metadata"`
	Name     string            `json:"name"`
	// Epoch is the account's when the token was issued: see Revocations.
	Epoch int64 `json:"epoch,omitempty"`
	// Session is the id of the login or the API token that this one descends
	// from, under the name that OpenID Connect has for it.
	Session string `json:"sid,omitempty"`
	// Grants limit a token that stands for an API token, as grants.Parse reads
	// them.
	Grants []string `json:"grants,omitempty"`
}

// Keys finds the public key for a key id.
type Keys interface {
	// Key answers ErrInvalid for an id that is not ours.
	Key(ctx context.Context, id string) (*rsa.PublicKey, error)
}

// Verifier turns tokens into Callers. It remembers good ones until they expire,
// so that a token costs one RSA operation and then a look-up.
type Verifier struct {
	keys   Keys
	now    func() time.Time
	parser *jwt.Parser

	mu    sync.RWMutex
	known map[[sha256.Size]byte]Caller
}

// maxKnown bounds the memory of a Verifier, about 1 KiB a token.
const maxKnown = 50_000

// NewVerifier makes a Verifier that trusts keys.
func NewVerifier(keys Keys, now func() time.Time) *Verifier {
	return &Verifier{
		keys: keys, now: now, known: map[[sha256.Size]byte]Caller{},
		parser: jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithExpirationRequired(), jwt.WithTimeFunc(now),
			jwt.WithStrictDecoding(), jwt.WithIssuedAt(), jwt.WithLeeway(Leeway)),
	}
}

// Verify answers whose token this is, ErrExpired or ErrInvalid. Any other error
// means that it could not be found out.
func (v *Verifier) Verify(ctx context.Context, token string) (Caller, error) {
	if len(token) == 0 || len(token) > maxToken {
		return Caller{}, ErrInvalid
	}
	sum := sha256.Sum256([]byte(token))
	v.mu.RLock()
	c, ok := v.known[sum]
	v.mu.RUnlock()
	if ok {
		if !v.now().Before(c.Expires.Add(Leeway)) {
			return Caller{}, expired(c.Expires)
		}
		return c, nil
	}
	c, err := v.parse(ctx, token)
	if err != nil {
		return Caller{}, err
	}
	v.remember(sum, c)
	return c, nil
}

// expired is ErrExpired, for the holder of a good token.
func expired(at time.Time) error {
	return fmt.Errorf("%w at %s", ErrExpired, at.UTC().Format(time.RFC3339))
}

// early is ErrEarly, for the holder of a token that will be good.
func early(c Claims, now time.Time) error {
	from := time.Time{}
	for _, x := range []*jwt.NumericDate{c.IssuedAt, c.NotBefore} {
		if x != nil && x.After(from) {
			from = x.Time
		}
	}
	return fmt.Errorf("%w: the token counts from %s on, and here it is %s", ErrEarly, from.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
}

func (v *Verifier) parse(ctx context.Context, token string) (Caller, error) {
	// Decoders skip line breaks: one token must not be remembered in many forms.
	if strings.ContainsAny(token, "\r\n") {
		return Caller{}, ErrInvalid
	}
	var claims Claims
	var kid string
	var unavailable error
	_, err := v.parser.ParseWithClaims(token, &claims, func(t *jwt.Token) (any, error) {
		kid, _ = t.Header["kid"].(string)
		key, err := v.keys.Key(ctx, kid)
		if err != nil && !errors.Is(err, ErrInvalid) {
			unavailable = err
		}
		return key, err
	})
	switch {
	case unavailable != nil:
		return Caller{}, fmt.Errorf("find key of token: %w", unavailable)
	case errors.Is(err, jwt.ErrTokenExpired): // its signature is good
		return Caller{}, expired(claims.ExpiresAt.Time)
	case errors.Is(err, jwt.ErrTokenUsedBeforeIssued), errors.Is(err, jwt.ErrTokenNotValidYet): // likewise
		return Caller{}, early(claims, v.now())
	case err != nil, claims.Issuer == "", claims.Subject == "":
		return Caller{}, ErrInvalid
	}
	limits, err := grants.ParseAll(claims.Grants)
	if err != nil { // from a newer auth than this: better refused than let in
		return Caller{}, ErrInvalid
	}
	c := Caller{
		ID: claims.Subject, Name: claims.Name, Type: claims.Type, Namespace: claims.Issuer,
		Scopes: claims.Scopes, Metadata: claims.Metadata, KeyID: kid, Epoch: claims.Epoch,
		Session: claims.Session, Grants: limits, Expires: claims.ExpiresAt.Time, Token: token,
	}
	if claims.IssuedAt != nil {
		c.Issued = claims.IssuedAt.Time
	}
	return c, nil
}

func (v *Verifier) remember(sum [sha256.Size]byte, c Caller) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.known) >= maxKnown {
		v.forget(v.now())
	}
	v.known[sum] = c
}

// forget makes room: of a few, in random order, the expired, and at least one.
// Looking at all would cost each new token a walk over the whole memory.
func (v *Verifier) forget(now time.Time) {
	const few = 32
	seen := 0
	for k, old := range v.known {
		if seen == 0 || !now.Before(old.Expires.Add(Leeway)) {
			delete(v.known, k)
		}
		if seen++; seen == few {
			return
		}
	}
}
