package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/audit"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/rpc"
	authpb "github.com/micro/platform/proto/auth"
)

// tokens is the API auth.Auth. Generate is in accounts.go.
type tokens struct {
	authpb.UnsafeAuthServer
	*Service
}

// minToken is the shortest life that an access token may be asked for.
const minToken = time.Minute

// errInvalidToken is matched as text by existing clients, which then fall back
// from a refresh token to their credentials.
func errInvalidToken() error {
	return errors.New(codes.InvalidArgument, "invalid token provided")
}

// errWrongSecret is one answer for an unknown account and for a wrong secret:
// who guesses learns nothing.
func errWrongSecret() error {
	return errors.New(codes.InvalidArgument, "Secret not correct, or no such account: check the id, the password and the namespace")
}

// Inspect implements the RPC.
func (s tokens) Inspect(ctx context.Context, req *authpb.InspectRequest) (*authpb.InspectResponse, error) {
	if strings.HasPrefix(req.GetToken(), apiPrefix) {
		_, a, err := s.apiToken(ctx, req.GetToken())
		if errors.Code(err) == codes.Unauthenticated {
			return nil, errInvalidToken()
		}
		return &authpb.InspectResponse{Account: a.proto()}, err
	}
	c, err := s.verifier.Verify(ctx, req.GetToken())
	switch {
	case errors.Is(err, identity.ErrExpired), errors.Is(err, identity.ErrInvalid):
		return nil, errInvalidToken()
	case err != nil:
		return nil, err
	}
	good, err := s.inForce(ctx, c)
	if err != nil {
		return nil, err
	}
	if !good {
		return nil, errInvalidToken()
	}
	return &authpb.InspectResponse{Account: &authpb.Account{
		Id: c.ID, Type: c.Type, Metadata: c.Metadata, Scopes: c.Scopes, Issuer: c.Namespace, Name: c.Name,
	}}, nil
}

// inForce says whether a token that is good by itself still counts: neither it
// nor its key has been called back.
func (s *Service) inForce(ctx context.Context, c identity.Caller) (bool, error) {
	revoked, err := s.changes.isRevoked(ctx, c)
	return err == nil && !revoked && s.signer.verifies(c.KeyID), err
}

// Token implements the RPC.
func (s tokens) Token(ctx context.Context, req *authpb.TokenRequest) (*authpb.TokenResponse, error) {
	switch {
	case strings.HasPrefix(req.GetRefreshToken(), apiPrefix):
		return s.loginByToken(ctx, "", req.GetRefreshToken())
	case req.GetRefreshToken() != "":
		return s.renew(ctx, req)
	case req.GetId() != "" && strings.HasPrefix(req.GetSecret(), apiPrefix):
		return s.loginByToken(ctx, req.GetId(), req.GetSecret())
	case req.GetId() != "" && req.GetSecret() != "":
		return s.login(ctx, req)
	default:
		return nil, errors.New(codes.InvalidArgument, "Credentials or a refresh token required")
	}
}

func (s tokens) renew(ctx context.Context, req *authpb.TokenRequest) (*authpb.TokenResponse, error) {
	if isJWT(req.GetRefreshToken()) {
		rsp, err := s.renewJWT(ctx, req.GetRefreshToken(), "")
		if err == nil && rsp == nil {
			err = errInvalidToken()
		}
		return rsp, err
	}
	session, generation, ok := s.refresh.open(req.GetRefreshToken())
	if !ok {
		return nil, errInvalidToken()
	}
	a, next, err := s.db.rotate(ctx, session, generation, s.lives())
	if err == errReused {
		s.log.WarnContext(ctx, "refresh token used again: session ended", "namespace", a.Namespace, "account", a.ID)
	}
	if err == errReused || err == errNoSession {
		return nil, errInvalidToken()
	}
	if err != nil {
		return nil, err
	}
	return s.answer(a, session, next, req.GetTokenExpiry())
}

func (s tokens) login(ctx context.Context, req *authpb.TokenRequest) (*authpb.TokenResponse, error) {
	if isJWT(req.GetSecret()) {
		if rsp, err := s.renewJWT(ctx, req.GetSecret(), req.GetId()); err != nil || rsp != nil {
			return rsp, err
		}
	}
	if len(req.GetId()) > maxID || len(req.GetSecret()) > maxSecret {
		return nil, errWrongSecret()
	}
	namespace := req.GetOptions().GetNamespace()
	if namespace == "" {
		namespace = identity.Platform
	}
	a, err := s.find(ctx, namespace, req.GetId())
	if err != nil && err != errNoAccount {
		return nil, err
	}
	err = s.prove(ctx, attempt{namespace, req.GetId(), rpc.OriginOf(ctx).Address}, a, req.GetSecret())
	if err == nil {
		err = s.secondFactor(ctx, a, req.GetCode(), req.GetPasskey())
	}
	if err != nil {
		if a.ID != "" && errors.FromError(err).Reason != identity.CodeRequired {
			audit.Failed(ctx, a.Namespace, map[string]string{"id": a.ID}, err)
		}
		return nil, err
	}
	return s.open(ctx, a, req.GetTokenExpiry())
}

// open makes a login of an account, and answers its tokens.
func (s *Service) open(ctx context.Context, a account, asked int64) (*authpb.TokenResponse, error) {
	life := s.opts.Session
	if a.Type == identity.Service {
		life += s.opts.ServiceToken
	}
	session := newSession()
	if err := s.db.createSession(ctx, a, session, life); err != nil {
		return nil, err
	}
	return s.answer(a, session, 0, asked)
}

// isJWT tells a JWT from what people choose, cheaply. There may be false ones.
func isJWT(s string) bool {
	return strings.HasPrefix(s, "eyJ") && strings.Count(s, ".") == 2
}

// renewJWT answers a fresh token for a service that shows an access token of its
// own in the place of a secret or a refresh token, as Micro's runtime had it:
// the new access token is the refresh token, too. It descends from the same
// login, and ends with it. Nil means that the token is not good for that. People
// have none, since theirs is not meant to be renewed by whoever sees it, and
// those that stand for API tokens are meant to end.
func (s tokens) renewJWT(ctx context.Context, token, id string) (*authpb.TokenResponse, error) {
	c, err := s.verifier.Verify(ctx, token)
	switch {
	case errors.Is(err, identity.ErrExpired), errors.Is(err, identity.ErrInvalid):
		return nil, nil
	case err != nil:
		return nil, err
	case c.Type != identity.Service, id != "" && id != c.ID && id != c.Name:
		return nil, nil
	}
	if good, err := s.inForce(ctx, c); err != nil || !good {
		return nil, err
	}
	a, err := s.db.account(ctx, c.Namespace, c.ID)
	// One that stands for an API token has grants that its account has not.
	if err == errNoAccount || err == nil && (a.Epoch != c.Epoch || c.Limited() && len(a.limits()) == 0) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	now := s.now()
	rsp, err := s.signer.answer(access{account: a, session: c.Session, issued: now, expires: now.Add(s.opts.ServiceToken)}, "")
	if err == nil {
		rsp.Token.RefreshToken = rsp.Token.AccessToken
	}
	return rsp, err
}

// find looks up who logs in: an id or a name of the namespace. People need not
// know their namespace, existing clients send "micro" for it.
func (s *Service) find(ctx context.Context, namespace, id string) (account, error) {
	a, err := s.db.accountOrName(ctx, namespace, id)
	if err == errNoAccount && namespace == identity.Platform {
		return s.db.person(ctx, id)
	}
	return a, err
}

// prove checks a secret; a is the zero account when there is none of that id.
// A random secret is compared at once, since nobody guesses one, so that many
// services can start at the same time. All else takes as long as a password.
func (s *Service) prove(ctx context.Context, try attempt, a account, secret string) error {
	if strings.HasPrefix(a.Secret, randomPrefix) && equalSecret(a.Secret, hashRandom(secret)) {
		return nil
	}
	if err := s.failures.check(ctx, try, s.log); err != nil {
		return err
	}
	matches := false
	var err error
	if a.Secret == "" || strings.HasPrefix(a.Secret, randomPrefix) {
		err = s.passwords.Pretend(ctx, secret)
	} else {
		matches, err = s.passwords.Match(ctx, secret, a.Secret)
	}
	if err != nil {
		return err
	}
	if !matches || a.operator() && rpc.OriginOf(ctx).Containers {
		s.failures.count(ctx, try, a, s.log)
		return errWrongSecret()
	}
	// Guesses that were sent all at once passed the first check together.
	if err := s.failures.check(ctx, try, s.log); err != nil {
		return err
	}
	s.failures.forget(ctx, try, s.log)
	return nil
}

// answer makes the tokens of a login. The asked life is in seconds.
func (s *Service) answer(a account, session []byte, generation int32, asked int64) (*authpb.TokenResponse, error) {
	life := s.opts.ServiceToken
	if a.Type != identity.Service {
		life = s.opts.UserToken
		if wanted := time.Duration(min(max(asked, 0), 1<<30)) * time.Second; asked > 0 {
			life = min(life, max(wanted, minToken))
		}
	}
	now := s.now()
	x := access{account: a, session: sessionText(session), issued: now, expires: now.Add(life)}
	return s.signer.answer(x, s.refresh.token(session, generation))
}

// randomPrefix marks the hash of a secret that is random and long, so that a
// fast hash is enough.
const randomPrefix = "sha256:"

func hashRandom(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return randomPrefix + hex.EncodeToString(sum[:])
}

func equalSecret(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
