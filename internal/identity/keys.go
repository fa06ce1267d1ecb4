package identity

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"sync"
	"time"

	authpb "github.com/micro/platform/proto/auth"
)

// KeySet is the public keys of auth, fetched when an unknown id comes up, at
// most once in refetch so that garbage cannot make work.
type KeySet struct {
	auth authpb.KeysClient
	now  func() time.Time

	mu      sync.Mutex
	keys    map[string]*rsa.PublicKey
	fetched time.Time
}

// refetch is the least time between two fetches. A key is published long
// before it signs, so a good token never waits for it.
const refetch = time.Second

// NewKeySet makes an empty KeySet that asks auth.
func NewKeySet(auth authpb.KeysClient, now func() time.Time) *KeySet {
	return &KeySet{auth: auth, now: now}
}

// Key implements Keys.
func (s *KeySet) Key(ctx context.Context, id string) (*rsa.PublicKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if key, ok := s.keys[id]; ok {
		return key, nil
	}
	if now := s.now(); s.keys == nil || now.Sub(s.fetched) >= refetch {
		if err := s.fetch(ctx); err != nil {
			return nil, err
		}
		s.fetched = now
	}
	if key, ok := s.keys[id]; ok {
		return key, nil
	}
	return nil, ErrInvalid
}

// Forget makes the next look-up fetch again: a key was retired.
func (s *KeySet) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = nil
}

func (s *KeySet) fetch(caller context.Context) error {
	// A context of its own: with a caller's token in it, auth would look for a
	// key to answer with a key.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	defer context.AfterFunc(caller, cancel)()
	rsp, err := s.auth.List(ctx, &authpb.ListKeysRequest{})
	if err != nil {
		return fmt.Errorf("fetch keys: %w", err)
	}
	keys := make(map[string]*rsa.PublicKey, len(rsp.GetKeys()))
	for _, k := range rsp.GetKeys() {
		parsed, err := x509.ParsePKIXPublicKey(k.GetDer())
		if err != nil {
			return fmt.Errorf("parse key %s: %w", k.GetId(), err)
		}
		key, ok := parsed.(*rsa.PublicKey)
		if !ok {
			return fmt.Errorf("key %s is %T, not RSA", k.GetId(), parsed)
		}
		keys[k.GetId()] = key
	}
	s.keys = keys
	return nil
}
