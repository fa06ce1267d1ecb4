package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/rpc"
	authpb "github.com/micro/platform/proto/auth"
)

const (
	// apiPrefix lets edges and scanners of source code know an API token.
	apiPrefix = "mtk_"
	// apiLife is how long an API token lives if nothing else is asked for.
	apiLife = 90 * 24 * time.Hour
	// maxAPILife is the most that may be asked for, short of never.
	maxAPILife = 366 * 24 * time.Hour
	// exchanged is the life of the access token that stands for an API token. It
	// is what a call may take that calls on.
	exchanged = 5 * time.Minute
	// keepExchanged is how long an edge uses one. The next exchange notes the use.
	keepExchanged = time.Minute
)

// apiToken is a row of auth.api_tokens, without the hash.
type apiToken struct {
	Namespace  string
	ID         string
	Account    string
	Name       string
	Grants     []string
	CreatedAt  time.Time
	ExpiresAt  *time.Time
	LastUsedAt *time.Time
}

func (t apiToken) proto() *authpb.ApiToken {
	return &authpb.ApiToken{
		Id: t.ID, Name: t.Name, Account: t.Account, Grants: t.Grants,
		Created: t.CreatedAt.Unix(), Expires: unix(t.ExpiresAt), LastUsed: unix(t.LastUsedAt),
	}
}

func unix(t *time.Time) int64 {
	if t == nil {
		return 0
	}
	return t.Unix()
}

// apiTokens is the API auth.Tokens.
type apiTokens struct {
	authpb.UnsafeTokensServer
	*Service
}

// Create implements the RPC.
func (s apiTokens) Create(ctx context.Context, req *authpb.CreateTokenRequest) (*authpb.CreateTokenResponse, error) {
	caller, err := identity.RequireLogin(ctx)
	if err != nil {
		return nil, err
	}
	if caller.IsComponent() {
		return nil, errors.New(codes.PermissionDenied, "components have no API tokens")
	}
	if err := checkAPIToken(req); err != nil {
		return nil, err
	}
	t := apiToken{
		Namespace: caller.Namespace, ID: strings.ToLower(rand.Text()[:16]), Account: caller.ID, Name: req.GetName(),
		Grants: req.GetGrants(), CreatedAt: s.now().UTC(),
	}
	if !req.GetNeverExpires() {
		life := apiLife
		if req.GetExpiresIn() > 0 {
			life = time.Duration(req.GetExpiresIn()) * time.Second
		}
		expires := t.CreatedAt.Add(life)
		t.ExpiresAt = &expires
	}
	secret := apiPrefix + newSecret()
	switch err := s.db.createAPIToken(ctx, t, hashAPI(secret), caller.Epoch, s.opts.MaxTokens); err {
	case nil:
		return &authpb.CreateTokenResponse{Secret: secret, Token: t.proto()}, nil
	case errNameTaken:
		return nil, errors.New(codes.AlreadyExists, "you have an API token called %q already", t.Name)
	case errTooMany:
		return nil, errors.New(codes.ResourceExhausted, "the namespace has %d API tokens, which is the limit: revoke some", s.opts.MaxTokens)
	case errNoAccount:
		return nil, errors.New(codes.Unauthenticated, "the account of this login has changed: log in again")
	default:
		return nil, err
	}
}

func hashAPI(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// List implements the RPC.
func (s apiTokens) List(ctx context.Context, req *authpb.ListTokensRequest) (*authpb.ListTokensResponse, error) {
	namespace, account, err := reach(ctx, req.GetOptions())
	if err != nil {
		return nil, err
	}
	list, err := s.db.listAPITokens(ctx, namespace, account)
	if err != nil {
		return nil, err
	}
	rsp := &authpb.ListTokensResponse{}
	for _, t := range list {
		rsp.Tokens = append(rsp.Tokens, t.proto())
	}
	return rsp, nil
}

// reach answers the namespace that a request is about, and the account to which
// it is limited: none for admins.
func reach(ctx context.Context, o *authpb.Options) (namespace, account string, err error) {
	namespace, err = identity.Member(ctx, o.GetNamespace())
	if err != nil {
		return "", "", err
	}
	caller, _ := identity.From(ctx)
	if caller.Admin() || caller.IsComponent() {
		return namespace, "", nil
	}
	return namespace, caller.ID, nil
}

// Revoke implements the RPC.
func (s apiTokens) Revoke(ctx context.Context, req *authpb.RevokeTokenRequest) (*authpb.RevokeTokenResponse, error) {
	namespace, account, err := reach(ctx, req.GetOptions())
	if err != nil {
		return nil, err
	}
	if req.GetId() == "" {
		return nil, errors.New(codes.InvalidArgument, "id is missing")
	}
	if err := checkID("id", req.GetId()); err != nil {
		return nil, err
	}
	caller, _ := identity.From(ctx)
	own := caller.ID
	if caller.Namespace != namespace {
		own = ""
	}
	found, err := s.db.deleteAPIToken(ctx, apiTokenSearch{namespace, req.GetId(), own, account}, exchanged+time.Minute)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, errors.New(codes.NotFound, "no API token %q", errors.Clip(req.GetId()))
	}
	return &authpb.RevokeTokenResponse{}, nil
}

// Exchange implements the RPC.
func (s components) Exchange(ctx context.Context, req *authpb.ExchangeRequest) (*authpb.ExchangeResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	t, a, err := s.apiToken(ctx, req.GetToken())
	if err != nil {
		return nil, err
	}
	token, err := s.exchange(ctx, t, a)
	if err != nil {
		return nil, err
	}
	keep := min(keepExchanged, token.expires.Sub(s.now()))
	return &authpb.ExchangeResponse{AccessToken: token.signed, Expires: token.expires.Unix(), Keep: int64(keep / time.Second)}, nil
}

// exchangedToken is an access token that stands for an API token.
type exchangedToken struct {
	signed          string
	issued, expires time.Time
}

// exchange makes one, and notes that the API token was used.
func (s *Service) exchange(ctx context.Context, t apiToken, a account) (exchangedToken, error) {
	now := s.now()
	expires := now.Add(exchanged)
	if t.ExpiresAt != nil && t.ExpiresAt.Before(expires) {
		expires = *t.ExpiresAt
	}
	signed, err := s.signer.sign(access{account: a, session: t.ID, grants: t.Grants, issued: now, expires: expires})
	if err != nil {
		return exchangedToken{}, err
	}
	if t.LastUsedAt == nil || now.Sub(*t.LastUsedAt) >= keepExchanged {
		if err := s.db.useAPIToken(ctx, t); err != nil {
			s.log.WarnContext(ctx, "the use of an API token is not noted", "namespace", t.Namespace, "token_id", t.ID, "error", err)
		}
	}
	return exchangedToken{signed, now, expires}, nil
}

// loginByToken answers an access token to who shows an API token in the place of
// a password, or of the refresh token that it then is: older command lines know
// nothing else.
func (s tokens) loginByToken(ctx context.Context, id, secret string) (*authpb.TokenResponse, error) {
	t, a, err := s.apiToken(ctx, secret)
	if errors.Code(err) == codes.Unauthenticated || err == nil && id != "" && !strings.EqualFold(id, a.ID) && id != a.Name {
		if id == "" {
			return nil, errInvalidToken()
		}
		return nil, errWrongSecret()
	}
	if err != nil {
		return nil, err
	}
	if a.operator() && rpc.OriginOf(ctx).Containers {
		return nil, errWrongSecret()
	}
	token, err := s.exchange(ctx, t, a)
	if err != nil {
		return nil, err
	}
	return &authpb.TokenResponse{Token: &authpb.Token{
		AccessToken: token.signed, RefreshToken: secret, Created: token.issued.Unix(), Expiry: token.expires.Unix(),
	}}, nil
}

// apiToken answers what an API token is and whom it stands for. An id that was
// revoked is unknown.
func (s *Service) apiToken(ctx context.Context, secret string) (apiToken, account, error) {
	if !strings.HasPrefix(secret, apiPrefix) || len(secret) > maxScope {
		return apiToken{}, account{}, errUnknownToken()
	}
	t, a, err := s.db.apiToken(ctx, hashAPI(secret))
	switch {
	case err == errNoAccount:
		return t, a, errUnknownToken()
	case err != nil:
		return t, a, err
	case t.ExpiresAt != nil && !s.now().Before(*t.ExpiresAt):
		return t, a, errors.New(codes.Unauthenticated, "the API token %q has expired on %s: make another with \"micro auth token create\"",
			t.Name, t.ExpiresAt.UTC().Format(time.DateOnly)).For(identity.TokenExpired)
	}
	return t, a, nil
}

func errUnknownToken() error {
	return errors.New(codes.Unauthenticated, "the API token is unknown or was revoked: make another with \"micro auth token create\"")
}
