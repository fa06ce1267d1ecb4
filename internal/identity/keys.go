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
// most once in refetch so that garbage cannot make work. Tokens of known keys
// never wait for a fetch.
type KeySet struct {
	auth authpb.KeysClient
	now  func() time.Time

	mu    sync.RWMutex
	keys  map[string]*rsa.PublicKey
	tried time.Time
	err   error // of that try

	fetching sync.Mutex // held by the one who fetches
}

// refetch is the least time between two fetches. A key is published long
// before it signs, so a good token never waits for it.
const refetch = time.Second

// retry is the least time after a fetch that failed: those who wait for one
// when auth is away must not each wait for their own.
const retry = 100 * time.Millisecond

// NewKeySet makes an empty KeySet that asks auth.
func NewKeySet(auth authpb.KeysClient, now func() time.Time) *KeySet {
	return &KeySet{auth: auth, now: now}
}

// Key implements Keys.
func (s *KeySet) Key(_ context.Context, id string) (*rsa.PublicKey, error) {
	if key, ok := s.known(id); ok {
		return key, nil
	}
	s.fetching.Lock()
	defer s.fetching.Unlock()
	s.mu.RLock()
	empty, tried, err := s.keys == nil, s.tried, s.err
	s.mu.RUnlock()
	wait := refetch
	if err != nil {
		wait = retry
	}
	if now := s.now(); now.Sub(tried) >= wait || empty && err == nil {
		err = s.fetch()
		s.mu.Lock()
		s.tried, s.err = now, err
		s.mu.Unlock()
	}
	if err != nil {
		return nil, err
	}
	if key, ok := s.known(id); ok {
		return key, nil
	}
	return nil, ErrInvalid
}

func (s *KeySet) known(id string) (*rsa.PublicKey, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	key, ok := s.keys[id]
	return key, ok
}

// Forget makes the next look-up fetch again: a key was retired.
func (s *KeySet) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys, s.err = nil, nil
}

func (s *KeySet) fetch() error {
	// A context of its own: with a caller's token in it, auth would look for a
	// key to answer with a key, and others wait for this, too.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
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
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = keys
	return nil
}
