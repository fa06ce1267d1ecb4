package auth

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/metadata"

	authpb "github.com/micro/platform/proto/auth"
)

const (
	// refetch is the least time between two questions for keys, so that garbage
	// cannot make work. A key is published long before it signs.
	refetch = time.Second
	// retry is the least time after a question that failed: those who come while
	// the platform is away must not each wait for their own.
	retry = 100 * time.Millisecond
	// keepKeys is how long keys hold: one that was retired is good for nothing.
	keepKeys = 5 * time.Minute
	// fetchWithin bounds a question.
	fetchWithin = 5 * time.Second
)

// keySet is the platform's public keys. Tokens of known keys never wait for a
// question, and all that wait share one.
type keySet struct {
	source authpb.KeysClient

	mu       sync.RWMutex
	keys     map[string]*rsa.PublicKey
	tried    time.Time // when the last question ended
	err      error     // of that one
	fetching *fetching // the one under way, or nil
}

// fetching is a question under way.
type fetching struct {
	done chan struct{}
	err  error // set before done is closed
}

// get answers a key, or ErrInvalid for an id that is not the platform's.
func (s *keySet) get(ctx context.Context, id string, now func() time.Time) (*rsa.PublicKey, error) {
	if key := s.known(id, now); key != nil {
		return key, nil
	}
	f, err := s.begin(now)
	if err != nil {
		// Another's question may have been answered since the first look.
		if key := s.known(id, now); key != nil {
			return key, nil
		}
		return nil, err
	}
	select {
	case <-f.done:
		if f.err != nil {
			return nil, f.err
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if key := s.keys[id]; key != nil {
		return key, nil
	}
	return nil, ErrInvalid
}

// known answers a key that is there, or nil. When the keys are old, it has them
// asked for anew, and nobody waits for that.
func (s *keySet) known(id string, now func() time.Time) *rsa.PublicKey {
	s.mu.RLock()
	key, old := s.keys[id], now().Sub(s.tried) >= keepKeys
	s.mu.RUnlock()
	if key != nil && old {
		_, _ = s.begin(now) // while it fails, the keys stay
	}
	return key
}

// begin asks, or joins those who wait. It answers why the last question failed,
// or ErrInvalid, when it is too early for another.
func (s *keySet) begin(now func() time.Time) (*fetching, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fetching != nil {
		return s.fetching, nil
	}
	switch since := now().Sub(s.tried); {
	case s.err != nil && since < retry:
		return nil, s.err
	case s.err == nil && since < refetch:
		return nil, ErrInvalid
	}
	f := &fetching{done: make(chan struct{})}
	s.fetching = f
	go s.fetch(f, now) // ends with its time
	return f, nil
}

// fetch has a context of its own, since all wait for it.
func (s *keySet) fetch(f *fetching, now func() time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchWithin)
	defer cancel()
	keys, err := s.list(ctx)
	s.mu.Lock()
	if s.tried, s.err, s.fetching = now(), err, nil; err == nil {
		s.keys = keys
	}
	s.mu.Unlock()
	f.err = err
	close(f.done)
}

func (s *keySet) list(ctx context.Context) (map[string]*rsa.PublicKey, error) {
	ctx = metadata.AppendToOutgoingContext(ctx, "micro-namespace", "micro")
	rsp, err := s.source.List(ctx, &authpb.ListKeysRequest{})
	if err != nil {
		return nil, fmt.Errorf("fetch the platform's public keys: %w", err)
	}
	keys := make(map[string]*rsa.PublicKey, len(rsp.GetKeys()))
	for _, k := range rsp.GetKeys() {
		parsed, err := x509.ParsePKIXPublicKey(k.GetDer())
		if err != nil {
			return nil, fmt.Errorf("parse key %s: %w", k.GetId(), err)
		}
		if key, ok := parsed.(*rsa.PublicKey); ok { // other kinds are for other algorithms
			keys[k.GetId()] = key
		}
	}
	return keys, nil
}
