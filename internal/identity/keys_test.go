package identity

import (
	"context"
	"crypto/x509"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc"

	authpb "github.com/micro/platform/proto/auth"
)

// TestForgottenWhileAsked shows that a good token is never called bad because
// keys are forgotten, and fetched by others, while it is looked at.
func TestForgottenWhileAsked(t *testing.T) {
	t.Parallel()
	i := &issuer{id: "key-1", private: shared()}
	s := NewKeySet(i, time.Now)
	ctx, stop := context.WithCancel(t.Context())
	var forgetting, asking sync.WaitGroup
	for range 2 {
		forgetting.Go(func() {
			for ctx.Err() == nil {
				s.Forget()
				if _, err := s.Refresh(ctx); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	for range 4 {
		asking.Go(func() {
			for range 2000 {
				if key, err := s.Key(t.Context(), i.id); key == nil || err != nil {
					t.Errorf("Key = %v, %v", key, err)
					return
				}
			}
		})
	}
	asking.Wait()
	stop()
	forgetting.Wait()
}

// slowIssuer is an auth whose answers a test holds back.
type slowIssuer struct {
	authpb.KeysClient
	answers chan *authpb.ListKeysResponse
}

func (i slowIssuer) List(ctx context.Context, _ *authpb.ListKeysRequest, _ ...grpc.CallOption) (*authpb.ListKeysResponse, error) {
	select {
	case rsp := <-i.answers:
		return rsp, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TestRefresh shows that known keys are good while auth has not answered, and
// that the answer says whether one is gone, which then is.
func TestRefresh(t *testing.T) {
	t.Parallel()
	der, err := x509.MarshalPKIXPublicKey(&shared().PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	keys := func(ids ...string) *authpb.ListKeysResponse {
		rsp := &authpb.ListKeysResponse{}
		for _, id := range ids {
			rsp.Keys = append(rsp.Keys, &authpb.Key{Id: id, Der: der})
		}
		return rsp
	}
	i := slowIssuer{answers: make(chan *authpb.ListKeysResponse)}
	s := NewKeySet(i, time.Now)
	type refreshed struct {
		gone bool
		err  error
	}
	refresh := func() <-chan refreshed {
		c := make(chan refreshed, 1)
		go func() {
			gone, err := s.Refresh(t.Context())
			c <- refreshed{gone, err}
		}()
		return c
	}
	for _, tt := range []struct {
		name  string
		known []string
		rsp   *authpb.ListKeysResponse
		gone  bool
	}{
		{"the first", nil, keys("a"), false},
		{"one more", []string{"a"}, keys("a", "b"), false},
		{"the same", []string{"a", "b"}, keys("a", "b"), false},
		{"one less", []string{"a", "b"}, keys("b"), true},
	} {
		c := refresh()
		for _, id := range tt.known {
			if _, err := s.Key(t.Context(), id); err != nil {
				t.Errorf("%s: key %s while auth is asked: %v", tt.name, id, err)
			}
		}
		i.answers <- tt.rsp
		if got := <-c; got.gone != tt.gone || got.err != nil {
			t.Errorf("%s: Refresh = %v, %v, want %v", tt.name, got.gone, got.err, tt.gone)
		}
	}
	if _, err := s.Key(t.Context(), "a"); err != ErrInvalid {
		t.Errorf("a key that is gone: %v", err)
	}
}

// TestRefreshWithoutAuth shows that what is known holds when auth does not
// answer, and that the caller hears of it.
func TestRefreshWithoutAuth(t *testing.T) {
	t.Parallel()
	i, v, clock := setup(t)
	token := sign(t, jwt.SigningMethodRS256, i.private, i.id, good(clock.now()))
	s := v.keys.(*KeySet)
	if _, err := s.Key(t.Context(), i.id); err != nil {
		t.Fatal(err)
	}
	i.err = context.DeadlineExceeded
	if _, err := s.Refresh(t.Context()); err == nil {
		t.Error("Refresh = nil while auth is away")
	}
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Errorf("a good token after it: %v", err)
	}
}
