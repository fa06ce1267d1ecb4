package service

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	authpb "github.com/micro/platform/proto/auth"
)

// issuer is auth. Each token says how many it has issued.
type issuer struct {
	authpb.AuthClient
	now    func() time.Time
	life   time.Duration
	issued int
	err    error
	asked  *authpb.TokenRequest
}

func (i *issuer) Token(_ context.Context, req *authpb.TokenRequest, _ ...grpc.CallOption) (*authpb.TokenResponse, error) {
	i.asked = req
	if i.err != nil {
		return nil, i.err
	}
	i.issued++
	return &authpb.TokenResponse{Token: &authpb.Token{AccessToken: string(rune('a' + i.issued - 1)), Expiry: i.now().Add(i.life).Unix()}}, nil
}

func TestToken(t *testing.T) {
	t.Parallel()
	clock := time.Unix(1_800_000_000, 0)
	now := func() time.Time { return clock }
	auth := &issuer{now: now, life: 90 * time.Minute}
	a := &account{auth: auth, id: "echo-latest", secret: "s", namespace: "demo", now: now}
	want := func(when, token string) {
		t.Helper()
		if got, err := a.Token(t.Context()); err != nil || got != token {
			t.Errorf("%s: token %q, %v, want %q", when, got, err, token)
		}
	}
	want("at first", "a")
	if r := auth.asked; r.GetId() != "echo-latest" || r.GetSecret() != "s" || r.GetOptions().GetNamespace() != "demo" || r.GetTokenExpiry() != int64(lifetime/time.Second) {
		t.Errorf("asked for %v", r)
	}
	clock = clock.Add(59 * time.Minute)
	want("while it is young", "a")
	clock = clock.Add(2 * time.Minute)
	want("after two thirds of its life", "b")

	auth.err = errors.New(codes.Unavailable, "away")
	clock = clock.Add(80 * time.Minute)
	want("while auth is away", "b")
	clock = clock.Add(11 * time.Minute)
	if _, err := a.Token(t.Context()); errors.Code(err) != codes.Unavailable {
		t.Errorf("expired while auth is away: %v", err)
	}
	auth.err = nil
	want("when auth is back", "c")
	a.Forget()
	want("after it was refused", "d")
}

// TestNoAccount makes anonymous calls, and asks nobody.
func TestNoAccount(t *testing.T) {
	t.Parallel()
	if token, err := (&account{}).Token(t.Context()); token != "" || err != nil {
		t.Errorf("token %q, %v", token, err)
	}
}

// slowIssuer does not answer before it is let go.
type slowIssuer struct {
	issuer
	begun, goOn chan struct{}
}

func (s *slowIssuer) Token(ctx context.Context, req *authpb.TokenRequest, opts ...grpc.CallOption) (*authpb.TokenResponse, error) {
	s.begun <- struct{}{} // a second attempt would wait here for ever
	<-s.goOn
	return s.issuer.Token(ctx, req, opts...)
}

// TestOneAsks for all that wait; who waits no longer leaves the others alone.
func TestOneAsks(t *testing.T) {
	t.Parallel()
	auth := &slowIssuer{issuer{now: time.Now, life: time.Hour}, make(chan struct{}), make(chan struct{})}
	a := &account{auth: auth, id: "echo-latest", secret: "s", now: time.Now}
	impatient, leave := context.WithCancel(t.Context())
	left, tokens := make(chan error), make(chan string)
	go func() {
		_, err := a.Token(impatient)
		left <- err
	}()
	<-auth.begun
	for range 10 {
		go func() {
			token, err := a.Token(t.Context())
			tokens <- token + errors.Code(err).String()
		}()
	}
	leave()
	if err := <-left; err != context.Canceled {
		t.Errorf("%v, want it canceled", err)
	}
	close(auth.goOn)
	for range 10 {
		if got := <-tokens; got != "aOK" {
			t.Errorf("token %s, want the first one", got)
		}
	}
}
