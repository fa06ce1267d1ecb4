package identity

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	authpb "github.com/micro/platform/proto/auth"
)

// KeySet is the public keys of auth, fetched when an unknown id comes up, at
// most once in refetch so that garbage cannot make work. Tokens of known keys
// never wait for a fetch, and all that wait share one.
type KeySet struct {
	auth authpb.KeysClient
	now  func() time.Time

	fetching singleflight.Group

	mu        sync.RWMutex
	keys      map[string]*rsa.PublicKey
	forgotten int       // how often: keys that were asked for before are not kept
	tried     time.Time // when the last fetch ended; zero for none since keys were forgotten
	err       error     // of that fetch
}

const (
	// refetch is the least time between two fetches. A key is published long
	// before it signs, so a good token never waits for it.
	refetch = time.Second
	// retry is the least time after a fetch that failed: those who come when auth
	// is away must not each wait for their own.
	retry = 100 * time.Millisecond
	// fetchWithin bounds a fetch.
	fetchWithin = 5 * time.Second
)

// NewKeySet makes an empty KeySet that asks auth.
func NewKeySet(auth authpb.KeysClient, now func() time.Time) *KeySet {
	return &KeySet{auth: auth, now: now}
}

// Key implements Keys.
func (s *KeySet) Key(ctx context.Context, id string) (*rsa.PublicKey, error) {
	if key, ok := s.known(id); ok {
		return key, nil
	}
	if due, err := s.due(); !due {
		if err == nil {
			err = ErrInvalid
		}
		return nil, err
	}
	select {
	case fetched := <-s.fetching.DoChan("", s.fetch):
		if fetched.Err != nil {
			return nil, fetched.Err
		}
	case <-ctx.Done():
		return nil, ctx.Err()
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

// due says whether it is time for a fetch, and else how the last one ended.
func (s *KeySet) due() (bool, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	wait := refetch
	if s.err != nil {
		wait = retry
	}
	return s.tried.IsZero() || s.now().Sub(s.tried) >= wait, s.err
}

// Forget makes the next look-up fetch again: a key was retired.
func (s *KeySet) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys, s.err, s.tried = nil, nil, time.Time{}
	s.forgotten++
}

// fetch has a context of its own: with a caller's token in it, auth would look
// for a key to answer with a key, and others wait for this, too.
func (s *KeySet) fetch() (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchWithin)
	defer cancel()
	for {
		s.mu.RLock()
		forgotten := s.forgotten
		s.mu.RUnlock()
		keys, err := s.list(ctx)
		s.mu.Lock()
		stale := s.forgotten != forgotten // a key of this answer may be retired by now
		if !stale {
			s.tried, s.err = s.now(), err
			if err == nil {
				s.keys = keys
			}
		}
		s.mu.Unlock()
		if !stale || err != nil {
			return nil, err
		}
	}
}

func (s *KeySet) list(ctx context.Context) (map[string]*rsa.PublicKey, error) {
	rsp, err := s.auth.List(ctx, &authpb.ListKeysRequest{})
	if err != nil {
		return nil, fmt.Errorf("fetch keys: %w", err)
	}
	keys := make(map[string]*rsa.PublicKey, len(rsp.GetKeys()))
	for _, k := range rsp.GetKeys() {
		parsed, err := x509.ParsePKIXPublicKey(k.GetDer())
		if err != nil {
			return nil, fmt.Errorf("parse key %s: %w", k.GetId(), err)
		}
		key, ok := parsed.(*rsa.PublicKey)
		if !ok {
			return nil, fmt.Errorf("key %s is %T, not RSA", k.GetId(), parsed)
		}
		keys[k.GetId()] = key
	}
	return keys, nil
}
