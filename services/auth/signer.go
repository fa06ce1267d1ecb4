package auth

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/seal"
	authpb "github.com/micro/platform/proto/auth"
)

// keyBits is what RS256 needs at least, and what all clients can verify fast.
const keyBits = 2048

// signer signs access tokens with the key that is active.
type signer struct {
	db    db
	box   *seal.Box
	state atomic.Pointer[keyState]
}

// keyState is what a process knows of the keys.
type keyState struct {
	id      string // of the one that signs
	private *rsa.PrivateKey
	verify  map[string]bool // ids of all that are good
}

func newSigner(d db, cluster seal.Cluster) (*signer, error) {
	box, err := seal.New(cluster, "auth")
	if err != nil {
		return nil, err
	}
	return &signer{db: d, box: box}, nil
}

// prepare makes the first key, and loads the one that signs.
func (s *signer) prepare(ctx context.Context) error {
	err := s.load(ctx)
	if err != errNoKey {
		return err
	}
	k, err := s.generate()
	if err != nil {
		return err
	}
	if err := s.db.createFirstKey(ctx, k); err != nil {
		return err
	}
	return s.load(ctx) // another process may have been faster: its key signs
}

// newKey is a row of auth.keys to be.
type newKey struct {
	id             string
	public, sealed []byte
}

// keyOwner binds a sealed key to its id.
func keyOwner(id string) string { return "key/" + id }

func (s *signer) generate() (newKey, error) {
	private, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return newKey{}, fmt.Errorf("make signing key: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		return newKey{}, fmt.Errorf("encode public key: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return newKey{}, fmt.Errorf("encode signing key: %w", err)
	}
	sum := sha256.Sum256(public)
	id := hex.EncodeToString(sum[:8])
	return newKey{id, public, s.box.Seal(secret, keyOwner(id))}, nil
}

// load reads the key that signs and the ids of those that verify; errNoKey when
// there is none.
func (s *signer) load(ctx context.Context) error {
	list, err := s.db.keys(ctx)
	if err != nil {
		return err
	}
	verify := map[string]bool{}
	for _, k := range list {
		verify[k.ID] = true
	}
	id, sealed, err := s.db.activeKey(ctx)
	if err != nil {
		return err
	}
	secret, err := s.box.Open(sealed, keyOwner(id))
	if err != nil {
		return fmt.Errorf("signing key %s: %w", id, err)
	}
	key, err := x509.ParsePKCS8PrivateKey(secret)
	if err != nil {
		return fmt.Errorf("signing key %s: %w", id, err)
	}
	private, ok := key.(*rsa.PrivateKey)
	if !ok {
		return fmt.Errorf("signing key %s is %T, not RSA", id, key)
	}
	s.state.Store(&keyState{id, private, verify})
	return nil
}

// verifies says whether a key has not been retired, whatever verifiers remember.
func (s *signer) verifies(id string) bool { return s.state.Load().verify[id] }

// access is an access token to be made.
type access struct {
	account         account
	session         string   // what it descends from
	grants          []string // what an API token limits it to; without one the account may have limits
	issued, expires time.Time
}

func (s *signer) sign(x access) (string, error) {
	a := x.account
	if len(x.grants) == 0 {
		x.grants = a.limits()
	}
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, identity.Claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: a.Namespace, Subject: a.ID, ID: rand.Text(),
			IssuedAt: jwt.NewNumericDate(x.issued), ExpiresAt: jwt.NewNumericDate(x.expires),
		},
		Type: a.Type, Scopes: a.scopes(), Metadata: a.Metadata, Name: a.Name, Epoch: a.Epoch,
		Session: x.session, Grants: x.grants,
	})
	key := s.state.Load()
	t.Header["kid"] = key.id
	signed, err := t.SignedString(key.private)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return signed, nil
}

// answer makes an access token, and says it with the refresh token beside it.
func (s *signer) answer(x access, refresh string) (*authpb.TokenResponse, error) {
	signed, err := s.sign(x)
	if err != nil {
		return nil, err
	}
	return &authpb.TokenResponse{Token: &authpb.Token{
		AccessToken: signed, RefreshToken: refresh, Created: x.issued.Unix(), Expiry: x.expires.Unix(),
	}}, nil
}
