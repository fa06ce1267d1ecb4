package edge

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/rpc"
	authpb "github.com/micro/platform/proto/auth"
)

const (
	// loginFor is how long a service's password is believed before auth is asked
	// again. That it is revoked is pushed.
	loginFor = time.Minute
	// maxLogins bounds what is remembered.
	maxLogins = 10_000
)

// logins answers the access tokens that passwords of services stand for.
type logins struct {
	auth   authpb.AuthClient
	asking singleflight.Group

	mu    sync.Mutex
	known map[[sha256.Size]byte]*exchanged // by account and password
}

func newLogins(auth authpb.AuthClient) *logins {
	return &logins{auth: auth, known: map[[sha256.Size]byte]*exchanged{}}
}

// Login answers the account of a namespace whose password secret is. A good one is
// believed for a minute. The error is codes.Unauthenticated for a wrong one,
// codes.ResourceExhausted after too many, and codes.Unavailable while auth is away.
func (e *Edge) Login(ctx context.Context, namespace, account, secret string, from rpc.Origin) (*identity.Caller, error) {
	token, err := e.logins.access(ctx, namespace, account, secret, from)
	if err != nil {
		return nil, err
	}
	caller, wrong, err := e.verify(ctx, token)
	if wrong != nil {
		return nil, errors.New(codes.Unauthenticated, "%s", wrong.text)
	}
	return caller, err
}

// access answers an access token for an account, from auth once a minute.
func (l *logins) access(ctx context.Context, namespace, account, secret string, from rpc.Origin) (string, error) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%s%d:%s%s", len(namespace), namespace, len(account), account, secret))
	l.mu.Lock()
	known := l.known[sum]
	l.mu.Unlock()
	if known != nil && time.Now().Before(known.fresh) {
		return known.access, nil
	}
	token, err, _ := l.asking.Do(string(sum[:]), func() (any, error) {
		md := metadata.MD{}
		from.Set(md)
		ctx, cancel := context.WithTimeout(metadata.NewOutgoingContext(context.WithoutCancel(ctx), md), exchangeWithin)
		defer cancel()
		rsp, err := l.auth.Token(ctx, &authpb.TokenRequest{Id: account, Secret: secret, Options: &authpb.Options{Namespace: namespace}})
		switch errors.Code(err) {
		case codes.OK:
		case codes.InvalidArgument, codes.NotFound, codes.Unauthenticated, codes.PermissionDenied:
			return "", errors.New(codes.Unauthenticated, "the account or its password is wrong")
		case codes.ResourceExhausted:
			return "", err
		default:
			return "", errors.New(codes.Unavailable, "the account could not be checked, try again").Because(err)
		}
		access, now := rsp.GetToken().GetAccessToken(), time.Now()
		l.mu.Lock()
		defer l.mu.Unlock()
		makeRoom(l.known, maxLogins, now)
		l.known[sum] = &exchanged{access: access, fresh: now.Add(loginFor)}
		return access, nil
	})
	if err != nil {
		return "", err
	}
	return token.(string), nil
}
