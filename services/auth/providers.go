package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"regexp"
	"time"

	"golang.org/x/oauth2"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/abuse"
	"github.com/micro/platform/internal/audit"
	"github.com/micro/platform/internal/mailbox"
	"github.com/micro/platform/internal/rpc"
	authpb "github.com/micro/platform/proto/auth"
	"github.com/micro/platform/services/auth/provider"
)

const (
	// signInLife is how long the browser may be away, and a ticket is good.
	signInLife = 10 * time.Minute
	// signInPath is where it comes back to, in the console.
	signInPath = "/signin"
)

// external is a provider by which people sign in.
type external struct {
	id, title string
	provider.Provider
}

// externals makes the providers that the operator has set up.
func externals(o Options, now func() time.Time) ([]external, error) {
	var list []external
	for _, p := range []struct {
		id, title, client, secret string
		make                      func(provider.Client) (provider.Provider, error)
	}{
		{"google", "Google", o.OIDCGoogleID, o.OIDCGoogleSecret.Reveal(), func(c provider.Client) (provider.Provider, error) {
			return provider.NewOpenID("https://accounts.google.com", c, now)
		}},
		{"github", "GitHub", o.OIDCGitHubID, o.OIDCGitHubSecret.Reveal(), func(c provider.Client) (provider.Provider, error) {
			return provider.NewGitHub(o.OIDCGitHubURL, c)
		}},
		{"sso", o.OIDCTitle, o.OIDCID, o.OIDCSecret.Reveal(), func(c provider.Client) (provider.Provider, error) {
			return provider.NewOpenID(o.OIDCIssuer, c, now)
		}},
	} {
		switch {
		case p.client == "" && p.secret == "":
			continue
		case p.client == "" || p.secret == "":
			return nil, fmt.Errorf("sign-in with %s: both id and secret of the client are needed", p.title)
		case o.Console == "":
			return nil, fmt.Errorf("sign-in with %s: MICRO_AUTH_CONSOLE must say where the console is", p.title)
		}
		made, err := p.make(provider.Client{ID: p.client, Secret: p.secret, Redirect: o.Console + signInPath})
		if err != nil {
			return nil, fmt.Errorf("sign-in with %s: %w", p.title, err)
		}
		list = append(list, external{p.id, p.title, made})
	}
	return list, nil
}

// checkConsole wants a plain origin.
func checkConsole(address string) error {
	if address == "" {
		return nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || address != u.Scheme+"://"+u.Host {
		return fmt.Errorf("MICRO_AUTH_CONSOLE: %q is not like https://console.example.com", address)
	}
	return nil
}

// providers is the API auth.Providers. What a person does with their links is in
// links.go.
type providers struct {
	authpb.UnsafeProvidersServer
	*Service
}

// List implements the RPC.
func (s providers) List(context.Context, *authpb.ListProvidersRequest) (*authpb.ListProvidersResponse, error) {
	rsp := &authpb.ListProvidersResponse{Console: s.opts.Console}
	for _, e := range s.externals {
		rsp.Providers = append(rsp.Providers, &authpb.Provider{Id: e.id, Title: e.title})
	}
	return rsp, nil
}

func (s *Service) external(id string) (external, error) {
	for _, e := range s.externals {
		if e.id == id {
			return e, nil
		}
	}
	return external{}, errors.New(codes.NotFound, "nobody signs in with %q here", errors.Clip(id))
}

// signIn is what is remembered while the browser is away.
type signIn struct {
	Provider  string
	Nonce     string
	PKCE      string
	Challenge string // of the browser that began
	Person    string // who links an account, or ""
}

// ticket is an account elsewhere that somebody has signed in with.
type ticket struct {
	Provider  string
	Subject   string
	Email     string
	Mailbox   string
	Challenge string
}

// challengeRule is a SHA-256 in base64url.
var challengeRule = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// answers says whether a verifier belongs to a challenge.
func answers(verifier, challenge string) bool {
	sum := sha256.Sum256([]byte(verifier))
	return verifier != "" && equalSecret(base64.RawURLEncoding.EncodeToString(sum[:]), challenge)
}

func errSignIn() error {
	return errors.New(codes.InvalidArgument, "signing in has expired, was used before, or was begun in another browser: begin again")
}

// Begin implements the RPC.
func (s providers) Begin(ctx context.Context, req *authpb.BeginSignInRequest) (*authpb.BeginSignInResponse, error) {
	return s.begin(ctx, req.GetProvider(), req.GetChallenge(), "")
}

// begin sends a browser away. A person links what it comes back with.
func (s providers) begin(ctx context.Context, id, challenge, person string) (*authpb.BeginSignInResponse, error) {
	e, err := s.external(id)
	if err != nil {
		return nil, err
	}
	if !challengeRule.MatchString(challenge) {
		return nil, errors.New(codes.InvalidArgument, "challenge: the SHA-256 of the verifier is needed, in base64url without padding")
	}
	if err := s.bound(ctx, "sign-in"); err != nil {
		return nil, err
	}
	state := rand.Text()
	flow := signIn{Provider: id, Nonce: rand.Text(), PKCE: oauth2.GenerateVerifier(), Challenge: challenge, Person: person}
	address, err := e.URL(ctx, provider.Attempt{State: state, Nonce: flow.Nonce, Verifier: flow.PKCE})
	if err != nil {
		return nil, err
	}
	return &authpb.BeginSignInResponse{Url: address}, s.pending.put(ctx, "signin", state, flow, signInLife)
}

// bound keeps a network from beginning without end.
func (s *Service) bound(ctx context.Context, kind string) error {
	subject, _, ok := abuse.Source(rpc.OriginOf(ctx).Address)
	if !ok {
		return nil
	}
	return s.resets.Take(ctx, []abuse.Limit{{Kind: kind, Subject: subject, Times: 30, Within: time.Minute, Reason: "too many attempts"}})
}

// returned takes what a browser came back with, once.
func (s providers) returned(ctx context.Context, req *authpb.CompleteSignInRequest) (flow signIn, t ticket, err error) {
	err = s.pending.take(ctx, "signin", req.GetState(), &flow)
	if err == errNotPending || err == nil && !answers(req.GetVerifier(), flow.Challenge) {
		return flow, t, errSignIn()
	}
	if err != nil {
		return flow, t, err
	}
	e, err := s.external(flow.Provider)
	if err != nil {
		return flow, t, err
	}
	who, err := e.Login(ctx, req.GetCode(), provider.Attempt{State: req.GetState(), Nonce: flow.Nonce, Verifier: flow.PKCE})
	if err != nil {
		return flow, t, err
	}
	address, err := mailbox.Parse(who.Email)
	if err != nil {
		return flow, t, errors.New(codes.FailedPrecondition, "your account there has an email address that is not possible here")
	}
	return flow, ticket{flow.Provider, who.Subject, address.Account, address.Mailbox, flow.Challenge}, nil
}

// Complete implements the RPC.
func (s providers) Complete(ctx context.Context, req *authpb.CompleteSignInRequest) (*authpb.SignInResponse, error) {
	flow, t, err := s.returned(ctx, req)
	if err != nil {
		return nil, err
	}
	if flow.Person != "" {
		return nil, errSignIn() // it was begun to link an account
	}
	name := rand.Text()
	if err := s.pending.put(ctx, "ticket", name, t, signInLife); err != nil {
		return nil, err
	}
	return s.Redeem(ctx, &authpb.RedeemTicketRequest{Ticket: name, Verifier: req.GetVerifier()})
}

// seeTicket answers a ticket of this browser's, and leaves it there.
func (s *Service) seeTicket(ctx context.Context, name, verifier string) (t ticket, err error) {
	err = s.pending.see(ctx, "ticket", name, &t)
	if err == errNotPending || err == nil && !answers(verifier, t.Challenge) {
		return t, errSignIn()
	}
	return t, err
}

// Redeem implements the RPC.
func (s providers) Redeem(ctx context.Context, req *authpb.RedeemTicketRequest) (*authpb.SignInResponse, error) {
	t, err := s.seeTicket(ctx, req.GetTicket(), req.GetVerifier())
	if err != nil {
		return nil, err
	}
	a, linked, err := s.db.signsIn(ctx, t)
	if err == errNoAccount {
		return s.wants(req, t, "signup"), nil
	}
	if err != nil {
		return nil, err
	}
	if !linked && req.GetPassword() == "" {
		if a.Enrolled {
			return s.wants(req, t, "password", "code"), nil
		}
		return s.wants(req, t, "password"), nil
	}
	if !linked {
		if err := s.provePassword(ctx, a, req.GetPassword()); err != nil {
			audit.Failed(ctx, a.Namespace, map[string]string{"id": a.ID}, err)
			return nil, err
		}
	}
	if a.Enrolled && req.GetCode() == "" && req.GetPasskey() == nil {
		return s.wants(req, t, "code"), nil
	}
	if err := s.secondFactor(ctx, a, req.GetCode(), req.GetPasskey()); err != nil {
		return nil, err
	}
	if err := s.pending.take(ctx, "ticket", req.GetTicket(), &t); err != nil {
		return nil, errSignIn()
	}
	if err := s.db.putLink(ctx, t, a.Person); err != nil {
		return nil, err
	}
	rsp, err := s.open(ctx, a, 0)
	return &authpb.SignInResponse{Token: rsp.GetToken(), Email: t.Email}, err
}

func (s providers) wants(req *authpb.RedeemTicketRequest, t ticket, what ...string) *authpb.SignInResponse {
	rsp := &authpb.SignInResponse{Ticket: req.GetTicket(), Wants: what, Email: t.Email}
	if e, err := s.external(t.Provider); err == nil {
		rsp.Title = e.title
	}
	return rsp
}
