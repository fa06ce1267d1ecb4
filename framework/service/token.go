package service

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/framework/errors"
	authpb "github.com/micro/platform/proto/auth"
)

// account gets the service's access tokens for its id and secret. It asks again
// with them rather than with a refresh token: that is one state less, and
// works after any time away.
type account struct {
	auth                  authpb.AuthClient
	id, secret, namespace string
	now                   func() time.Time

	mu      sync.Mutex
	token   string
	renew   time.Time // from here on a new one is asked for
	expires time.Time
	asking  *asked // the attempt under way, if there is one
}

const (
	// lifetime is what is asked for. The platform gives what it will; a service's
	// token may well outlive the process.
	lifetime     = 365 * 24 * time.Hour
	tokenTimeout = 5 * time.Second
)

// Token answers a token that is good for a while, or "" for a service without
// an account. Of all that wait for a new one, one asks; its failure is theirs, so
// that none waits longer than tokenTimeout.
func (a *account) Token(ctx context.Context) (string, error) {
	if a.id == "" {
		return "", nil
	}
	a.mu.Lock()
	if a.now().Before(a.renew) {
		defer a.mu.Unlock()
		return a.token, nil
	}
	asking := a.asking
	if asking == nil {
		asking = &asked{done: make(chan struct{})}
		a.asking = asking
		go a.ask(context.WithoutCancel(ctx), asking) // ends within tokenTimeout
	}
	a.mu.Unlock()
	select {
	case <-asking.done:
		return asking.token, asking.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// asked is an attempt at a new token, and what came of it once it is done.
type asked struct {
	done  chan struct{}
	token string
	err   error
}

// ask asks for a token. The old one will do until the next attempt, if it is
// still good.
func (a *account) ask(ctx context.Context, x *asked) {
	token, expires, err := a.fetch(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	switch {
	case err == nil:
		a.token, a.expires, a.renew = token, expires, now.Add(expires.Sub(now)*2/3)
	case now.Before(a.expires):
		a.renew, err = now.Add(tokenTimeout), nil
	}
	x.token, x.err = a.token, err
	a.asking = nil
	close(x.done)
}

// Forget makes the next Token ask for a new one: the platform refused this one.
func (a *account) Forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.token, a.renew, a.expires = "", time.Time{}, time.Time{}
}

// fetch asks the platform for a token. It leaves the metadata of a call being
// handled behind.
func (a *account) fetch(ctx context.Context) (token string, expires time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	ctx = metadata.NewOutgoingContext(ctx, metadata.Pairs("micro-namespace", core))
	rsp, err := a.auth.Token(ctx, &authpb.TokenRequest{
		Id: a.id, Secret: a.secret, TokenExpiry: int64(lifetime / time.Second),
		Options: &authpb.Options{Namespace: a.namespace},
	})
	if err != nil {
		return "", time.Time{}, errors.FromError(err)
	}
	return rsp.GetToken().GetAccessToken(), time.Unix(rsp.GetToken().GetExpiry(), 0), nil
}

// refused says whether asking again is no use: the id or secret is wrong.
func refused(err error) bool {
	switch errors.Code(err) {
	case codes.InvalidArgument, codes.Unauthenticated, codes.PermissionDenied, codes.NotFound:
		return true
	}
	return false
}
