package auth

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	authpb "github.com/micro/platform/proto/auth"
)

// ErrExpired is a token that was good once. ErrInvalid is any other bad token.
var (
	ErrExpired = errors.New("token expired")
	ErrInvalid = errors.New("token invalid")
)

const (
	// maxToken bounds what is parsed at all. Real ones are under 2 KiB.
	maxToken = 16 << 10
	// leeway is how far the clocks of who issues a token and who checks it may be
	// apart: a token is good for that much longer, and before it was issued.
	leeway = time.Minute
	// maxKnown bounds the memory for tokens, about 1 KiB each.
	maxKnown = 10_000
)

// Verifier checks tokens: RS256 with a published key, not expired. It remembers
// good ones, so that a token costs one RSA operation and then a look-up.
type Verifier struct {
	keys keySet
	now  func() time.Time

	mu    sync.RWMutex
	known map[[sha256.Size]byte]verified
}

type verified struct {
	account *Account
	keyID   string // a token is good as long as its key
	expires time.Time
}

// NewVerifier makes a Verifier that asks source for keys when it meets a new one.
func NewVerifier(source authpb.KeysClient) *Verifier {
	return &Verifier{keys: keySet{source: source}, now: time.Now, known: map[[sha256.Size]byte]verified{}}
}

// Verify answers whose token this is, ErrExpired or ErrInvalid. Any other error
// means that it could not be found out.
func (v *Verifier) Verify(ctx context.Context, token string) (*Account, error) {
	if len(token) > maxToken {
		return nil, ErrInvalid
	}
	sum := sha256.Sum256([]byte(token))
	v.mu.RLock()
	known, ok := v.known[sum]
	v.mu.RUnlock()
	if ok = ok && v.keys.known(known.keyID, v.now) != nil; !ok {
		var err error
		if known, err = v.check(ctx, token); err != nil {
			return nil, err
		}
	}
	if !v.now().Before(known.expires.Add(leeway)) {
		return nil, ErrExpired
	}
	if !ok {
		v.remember(sum, known)
	}
	return known.account, nil
}

// The parts of a token that matter here.
type header struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
}

type claims struct {
	Subject   string            `json:"sub"`
	Issuer    string            `json:"iss"`
	Expires   *float64          `json:"exp"`
	NotBefore *float64          `json:"nbf"`
	Issued    *float64          `json:"iat"`
	Type      string            `json:"type"`
	Name      string            `json:"name"`
	Scopes    []string          `json:"scopes"`
	Metadata  map[string]string `json:"metadata"`
}

func (v *Verifier) check(ctx context.Context, token string) (verified, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return verified{}, ErrInvalid
	}
	var h header
	// The algorithm is ours to choose, not the token's: anything but RS256 is
	// refused before a key is looked up.
	if decode(parts[0], &h) != nil || h.Algorithm != "RS256" {
		return verified{}, ErrInvalid
	}
	signature, err := base64.RawURLEncoding.Strict().DecodeString(parts[2])
	if err != nil {
		return verified{}, ErrInvalid
	}
	key, err := v.keys.get(ctx, h.KeyID, v.now)
	if err != nil {
		return verified{}, err
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) != nil {
		return verified{}, ErrInvalid
	}
	var c claims
	if decode(parts[1], &c) != nil || c.Subject == "" || c.Issuer == "" || c.Expires == nil {
		return verified{}, ErrInvalid
	}
	for _, from := range []*float64{c.NotBefore, c.Issued} {
		if from != nil && v.now().Before(unix(*from).Add(-leeway)) {
			return verified{}, ErrInvalid
		}
	}
	return verified{
		account: &Account{ID: c.Subject, Type: c.Type, Issuer: c.Issuer, Name: c.Name, Scopes: c.Scopes, Metadata: c.Metadata},
		keyID:   h.KeyID, expires: unix(*c.Expires),
	}, nil
}

func decode(part string, into any) error {
	b, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// unix reads a NumericDate, which may have a fraction. The year 9999 is as far
// as time goes.
func unix(seconds float64) time.Time {
	const last = 253402300799
	return time.Unix(int64(min(max(seconds, 0), last)), 0)
}

// remember keeps a good token. Full, it forgets a few, in random order: the
// expired, and at least one. Looking at all would cost each new token a walk
// over the whole memory.
func (v *Verifier) remember(sum [sha256.Size]byte, token verified) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.known) >= maxKnown {
		const few = 32
		seen, now := 0, v.now()
		for k, old := range v.known {
			if seen == 0 || !now.Before(old.expires.Add(leeway)) {
				delete(v.known, k)
			}
			if seen++; seen == few {
				break
			}
		}
	}
	v.known[sum] = token
}
