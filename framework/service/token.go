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
}

const (
	// lifetime is what is asked for. The platform gives what it will; a service's
	// token may well outlive the process.
	lifetime     = 365 * 24 * time.Hour
	tokenTimeout = 5 * time.Second
)

// Token answers a token that is good for a while, or "" for a service without
// an account.
func (a *account) Token(ctx context.Context) (string, error) {
	if a.id == "" {
		return "", nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	if now.Before(a.renew) {
		return a.token, nil
	}
	err := a.fetch(ctx)
	if err != nil && now.Before(a.expires) { // the old one will do until the next attempt
		a.renew = now.Add(tokenTimeout)
		return a.token, nil
	}
	return a.token, err
}

// Forget makes the next Token ask for a new one: the platform refused this one.
func (a *account) Forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.token, a.renew, a.expires = "", time.Time{}, time.Time{}
}

// fetch asks for a token, and for the next one when two thirds of its life have
// gone. It leaves the metadata of a call being handled behind.
func (a *account) fetch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	ctx = metadata.NewOutgoingContext(ctx, metadata.Pairs("micro-namespace", core))
	rsp, err := a.auth.Token(ctx, &authpb.TokenRequest{
		Id: a.id, Secret: a.secret, TokenExpiry: int64(lifetime / time.Second),
		Options: &authpb.Options{Namespace: a.namespace},
	})
	if err != nil {
		return errors.FromError(err)
	}
	now := a.now()
	a.token, a.expires = rsp.GetToken().GetAccessToken(), time.Unix(rsp.GetToken().GetExpiry(), 0)
	a.renew = now.Add(a.expires.Sub(now) * 2 / 3)
	return nil
}

// refused says whether asking again is no use: the id or secret is wrong.
func refused(err error) bool {
	switch errors.Code(err) {
	case codes.InvalidArgument, codes.Unauthenticated, codes.PermissionDenied, codes.NotFound:
		return true
	}
	return false
}
