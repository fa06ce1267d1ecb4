package remote

import (
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/cli/config"
	"github.com/micro/platform/internal/identity"
	authpb "github.com/micro/platform/proto/auth"
)

const (
	// callTimeout bounds a unary call that has no deadline.
	callTimeout = 30 * time.Second
	// renewTimeout bounds the exchange of a refresh token, for which other
	// processes may be waiting.
	renewTimeout = 10 * time.Second
	// renewBefore is how long before its end a token is no longer used.
	renewBefore = 60 * time.Second
	// tokenLife is what is asked for, in seconds. The server decides.
	tokenLife = 600
)

// Session is a person's way to a server.
type Session struct {
	// Conn carries every call. Calls bear the person's token, if there is one.
	Conn *grpc.ClientConn

	login  config.Login
	tokens *config.Tokens
	now    func() time.Time

	mu      sync.Mutex
	token   config.Token
	fixed   bool   // the token was given, it is used as it is
	expired bool   // there was a login, and the server no longer takes it
	refused string // an access token that was called back before its end
}

// Open starts a session of a login. With given, that token is used as it is.
func Open(login config.Login, tokens *config.Tokens, given string) (*Session, error) {
	s := &Session{login: login, tokens: tokens, now: time.Now}
	if given != "" {
		s.fixed, s.token.AccessToken = true, given
	} else if login.Account != "" {
		token, _, err := tokens.Get(login)
		if err != nil {
			return nil, err
		}
		s.token = token
	}
	var err error
	s.Conn, err = Dial(login.Address, grpc.WithUnaryInterceptor(s.unary), grpc.WithStreamInterceptor(s.stream))
	return s, err
}

// Close ends the session.
func (s *Session) Close() error { return s.Conn.Close() }

// LoggedIn says whether there is a token to send.
func (s *Session) LoggedIn() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token.AccessToken != ""
}

// Expired says whether the login that there was is no longer good.
func (s *Session) Expired() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.expired
}

// Token answers the access token, renewed when it is about to end, or "" for
// somebody who is not logged in.
func (s *Session) Token(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fixed || s.token.AccessToken == "" || s.fresh(s.token) {
		return s.token.AccessToken, nil
	}
	err := s.tokens.Refresh(s.login, func(old config.Token, found bool) (config.Token, bool, error) {
		if !found { // another process logged out
			s.token = config.Token{}
			return old, false, nil
		}
		if s.fresh(old) { // another process was faster
			s.token = old
			return old, false, nil
		}
		var err error
		s.token, err = s.renew(ctx, old)
		return s.token, err == nil && s.token.AccessToken != "", err
	})
	return s.token.AccessToken, err
}

func (s *Session) fresh(t config.Token) bool {
	return s.now().Add(renewBefore).Unix() < t.Expiry && t.AccessToken != s.refused
}

// renew exchanges the refresh token. One that the server refuses is no error:
// its owner is anonymous from now on, and hears why when that matters. Ctrl-C
// does not stop it: the old refresh token is spent, so the new one must be kept.
func (s *Session) renew(ctx context.Context, old config.Token) (config.Token, error) {
	ctx, cancel := context.WithTimeout(anonymous(context.WithoutCancel(ctx)), renewTimeout)
	defer cancel()
	rsp, err := authpb.NewAuthClient(s.Conn).Token(ctx, &authpb.TokenRequest{
		RefreshToken: old.RefreshToken, TokenExpiry: tokenLife,
		Options: &authpb.Options{Namespace: s.login.Namespace},
	})
	switch errors.Code(err) {
	case codes.OK:
		return stored(rsp.GetToken()), nil
	case codes.InvalidArgument, codes.Unauthenticated, codes.PermissionDenied, codes.NotFound:
		s.expired = true
		return config.Token{}, nil
	default:
		return old, err
	}
}

func stored(t *authpb.Token) config.Token {
	return config.Token{AccessToken: t.GetAccessToken(), RefreshToken: t.GetRefreshToken(), Created: t.GetCreated(), Expiry: t.GetExpiry()}
}

// Login exchanges an id and a password for a token, and answers whose it is.
// code is that of a second factor, for who has one.
func (s *Session) Login(ctx context.Context, id, password, code, namespace string) (*authpb.Account, config.Token, error) {
	ctx = anonymous(ctx)
	auth := authpb.NewAuthClient(s.Conn)
	rsp, err := auth.Token(ctx, &authpb.TokenRequest{Id: id, Secret: password, Code: code, TokenExpiry: tokenLife,
		Options: &authpb.Options{Namespace: namespace}})
	if err != nil {
		return nil, config.Token{}, err
	}
	return whose(ctx, auth, rsp.GetToken())
}

// Switch answers a token for another namespace of the person who is logged in,
// and whose it is.
func (s *Session) Switch(ctx context.Context, namespace string) (*authpb.Account, config.Token, error) {
	rsp, err := authpb.NewPeopleClient(s.Conn).Switch(ctx, &authpb.SwitchRequest{Namespace: namespace, TokenExpiry: tokenLife})
	if err != nil {
		return nil, config.Token{}, err
	}
	return whose(anonymous(ctx), authpb.NewAuthClient(s.Conn), rsp.GetToken())
}

// LoginFromBrowser logs in from the console: show tells the person the address and
// the code to be typed there, then it is waited for.
func (s *Session) LoginFromBrowser(ctx context.Context, show func(address, code string, life time.Duration)) (*authpb.Account, config.Token, error) {
	ctx = anonymous(ctx)
	devices := authpb.NewDevicesClient(s.Conn)
	begun, err := devices.Begin(ctx, &authpb.BeginDeviceRequest{})
	if err != nil {
		return nil, config.Token{}, err
	}
	show(begun.GetAddress(), begun.GetUserCode(), time.Duration(begun.GetExpiresIn())*time.Second)
	tick := time.NewTicker(time.Duration(max(begun.GetInterval(), 1)) * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, config.Token{}, ctx.Err()
		case <-tick.C:
		}
		rsp, err := devices.Token(ctx, &authpb.DeviceTokenRequest{DeviceCode: begun.GetDeviceCode()})
		if err == nil {
			return whose(ctx, authpb.NewAuthClient(s.Conn), rsp.GetToken())
		}
		if errors.FromError(err).Reason != identity.AuthorizationPending {
			return nil, config.Token{}, err
		}
	}
}

func whose(ctx context.Context, auth authpb.AuthClient, t *authpb.Token) (*authpb.Account, config.Token, error) {
	rsp, err := auth.Inspect(ctx, &authpb.InspectRequest{Token: t.GetAccessToken()})
	if err != nil {
		return nil, config.Token{}, err
	}
	return rsp.GetAccount(), stored(t), nil
}

// Logout ends the login that a token came from. A server that no longer knows it,
// or never knew how, is no error.
func Logout(ctx context.Context, address string, token config.Token) error {
	if token.RefreshToken == "" {
		return nil
	}
	conn, err := Dial(address)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // the answer is there, or its error
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	_, err = authpb.NewAuthClient(conn).Logout(ctx, &authpb.LogoutRequest{RefreshToken: token.RefreshToken})
	switch errors.Code(err) {
	case codes.OK, codes.InvalidArgument, codes.Unimplemented:
		return nil
	}
	return err
}

type anonymousKey struct{}

// anonymous makes calls with this context bear no token.
func anonymous(ctx context.Context) context.Context {
	return context.WithValue(ctx, anonymousKey{}, true)
}

func (s *Session) unary(ctx context.Context, method string, req, rsp any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTimeout)
		defer cancel()
	}
	token, err := s.bearer(ctx)
	if err != nil {
		return err
	}
	var trailer metadata.MD
	err = invoke(sign(ctx, token), method, req, rsp, cc, append(opts, grpc.Trailer(&trailer))...)
	if errors.Code(err) != codes.Unauthenticated || !slices.Equal(trailer.Get("micro-reason"), []string{identity.TokenRevoked}) || !s.refuse(token) {
		return reasoned(err, trailer)
	}
	// What its owner may do has changed, and the login may still be good.
	if token, err = s.bearer(ctx); err != nil {
		return err
	}
	return reasoned(invoke(sign(ctx, token), method, req, rsp, cc, append(opts, grpc.Trailer(&trailer))...), trailer)
}

// reasoned gives an error the reason that came beside it.
func reasoned(err error, trailer metadata.MD) error {
	reason := trailer.Get("micro-reason")
	if err == nil || len(reason) == 0 {
		return err
	}
	return errors.FromError(err).For(reason[0])
}

// refuse keeps an access token from being used again. It answers whether there
// may be another.
func (s *Session) refuse(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fixed || token == "" {
		return false
	}
	s.refused = token
	return true
}

func (s *Session) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	token, err := s.bearer(ctx)
	if err != nil {
		return nil, err
	}
	return open(sign(ctx, token), desc, cc, method, opts...)
}

// bearer answers the token that a call is to bear, if any.
func (s *Session) bearer(ctx context.Context) (string, error) {
	if ctx.Value(anonymousKey{}) != nil {
		return "", nil
	}
	return s.Token(ctx)
}

func sign(ctx context.Context, token string) context.Context {
	if token == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}
