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

	mu      sync.RWMutex
	keys    map[string]*rsa.PublicKey
	asked   int       // how often others were asked for: what was listed before is not kept
	fetched int       // asked, when the keys that are known were listed
	tried   time.Time // when the last fetch ended; zero for none since keys were forgotten
	err     error     // of that fetch
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
	for {
		key, due, err := s.look(id)
		if !due {
			return key, err
		}
		// Keys that were forgotten while they came are due again.
		if err := s.wait(ctx); err != nil {
			return nil, err
		}
	}
}

// look answers the key, or that a fetch is due, or why there is none. It is one
// look: between two, another caller's fetch could make the key known and the
// fetch not due, and a good token would be called bad.
func (s *KeySet) look(id string) (key *rsa.PublicKey, due bool, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if key, ok := s.keys[id]; ok {
		return key, false, nil
	}
	wait, err := refetch, ErrInvalid
	if s.err != nil {
		wait, err = retry, s.err
	}
	return nil, s.tried.IsZero() || s.now().Sub(s.tried) >= wait, err
}

// wait waits for a fetch.
func (s *KeySet) wait(ctx context.Context) error {
	select {
	case fetched := <-s.fetching.DoChan("", s.fetch):
		return fetched.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Forget makes the next look-up fetch again: a key was retired.
func (s *KeySet) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys, s.err, s.tried = nil, nil, time.Time{}
	s.asked++
}

// Refresh fetches the keys while those that are known stay in force, and says
// whether one of them is gone: somebody may have missed that it was retired.
func (s *KeySet) Refresh(ctx context.Context) (gone bool, err error) {
	s.mu.Lock()
	s.asked++
	before, asked := s.keys, s.asked
	s.mu.Unlock()
	for {
		if err := s.wait(ctx); err != nil {
			return false, err
		}
		s.mu.RLock()
		after, fetched := s.keys, s.fetched
		s.mu.RUnlock()
		if fetched < asked {
			continue // somebody else's fetch, of before
		}
		for id := range before {
			if after[id] == nil {
				return true, nil
			}
		}
		return false, nil
	}
}

// fetch has a context of its own: with a caller's token in it, auth would look
// for a key to answer with a key, and others wait for this, too.
func (s *KeySet) fetch() (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchWithin)
	defer cancel()
	for {
		s.mu.RLock()
		asked := s.asked
		s.mu.RUnlock()
		keys, err := s.list(ctx)
		s.mu.Lock()
		stale := s.asked != asked // a key of this answer may be retired by now
		if !stale {
			s.tried, s.err = s.now(), err
			if err == nil {
				s.keys, s.fetched = keys, asked
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
