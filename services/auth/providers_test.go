package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/oidctest"
	"github.com/micro/platform/internal/pgtest"
	authpb "github.com/micro/platform/proto/auth"
)

// consoleAddress is where the tests' console would be.
const consoleAddress = "http://localhost:8082"

// abroad is auth with a provider.
type abroad struct {
	*platform
	issuer   *oidctest.Server
	provider string
}

// setupAbroad starts auth with an issuer of OpenID Connect and a GitHub.
func setupAbroad(t *testing.T, provider string) *abroad {
	t.Helper()
	issuer := oidctest.New(t, consoleAddress+signInPath)
	p := setupAt(t, pgtest.URL(t), map[string]string{
		"MICRO_AUTH_CONSOLE":     consoleAddress,
		"MICRO_AUTH_OIDC_ISSUER": issuer.URL, "MICRO_AUTH_OIDC_ID": oidctest.Client, "MICRO_AUTH_OIDC_SECRET": oidctest.Secret,
		"MICRO_AUTH_OIDC_GITHUB_URL": issuer.URL, "MICRO_AUTH_OIDC_GITHUB_ID": oidctest.Client, "MICRO_AUTH_OIDC_GITHUB_SECRET": oidctest.Secret,
	})
	return &abroad{p, issuer, provider}
}

// browser is one that has begun to sign in.
type browser struct {
	verifier string
	url      string
}

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (a *abroad) begin(t *testing.T) browser {
	t.Helper()
	verifier := rand.Text()
	rsp, err := a.providers.Begin(t.Context(), &authpb.BeginSignInRequest{Provider: a.provider, Challenge: challengeOf(verifier)})
	if err != nil {
		t.Fatal(err)
	}
	return browser{verifier, rsp.GetUrl()}
}

// signIn goes to the provider and comes back.
func (a *abroad) signIn(t *testing.T) (*authpb.SignInResponse, browser, error) {
	t.Helper()
	b := a.begin(t)
	state, code := a.issuer.Visit(t, b.url)
	rsp, err := a.providers.Complete(t.Context(), &authpb.CompleteSignInRequest{State: state, Code: code, Verifier: b.verifier})
	return rsp, b, err
}

// TestSignIn goes through what happens to a person who signs in elsewhere with
// the mailbox of an account: the password once, and never again.
func TestSignIn(t *testing.T) {
	t.Parallel()
	for _, provider := range []string{"sso", "github"} {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			a := setupAbroad(t, provider)
			a.issuer.Be(oidctest.Person{Subject: "jane", ID: 7, Email: strings.ToUpper(a.owner), Verified: true})
			first, b, err := a.signIn(t)
			if err != nil || first.GetToken() != nil || !slices.Equal(first.GetWants(), []string{"password"}) {
				t.Fatalf("signing in with a known mailbox = %v, %v; want a ticket that wants the password", first, err)
			}
			redeem := func(secret, verifier string) (*authpb.SignInResponse, error) {
				return a.providers.Redeem(t.Context(), &authpb.RedeemTicketRequest{Ticket: first.GetTicket(), Verifier: verifier, Password: secret})
			}
			if _, err := redeem("not it at all", b.verifier); errors.Code(err) != codes.InvalidArgument {
				t.Errorf("with a wrong password: %v, want InvalidArgument", err)
			}
			if _, err := redeem(a.password, "another browser's"); errors.Code(err) != codes.InvalidArgument {
				t.Errorf("from another browser: %v, want InvalidArgument", err)
			}
			if rsp, err := redeem(a.password, b.verifier); err != nil || rsp.GetToken() == nil {
				t.Fatalf("with the password = %v, %v; want a token", rsp, err)
			}
			if _, err := redeem(a.password, b.verifier); errors.Code(err) != codes.InvalidArgument {
				t.Errorf("a ticket for the second time: %v, want InvalidArgument", err)
			}
			// Linked: another address there changes nothing.
			a.issuer.Be(oidctest.Person{Subject: "jane", ID: 7, Email: "elsewhere@example.com", Verified: true})
			again, _, err := a.signIn(t)
			if err != nil || claims(t, again.GetToken().GetAccessToken()).Subject != a.owner {
				t.Errorf("signing in once it is linked = %v, %v", again, err)
			}
			a.unlink(t)
			if after, _, err := a.signIn(t); err != nil || !slices.Equal(after.GetWants(), []string{"signup"}) {
				t.Errorf("signing in after unlinking, with an unknown mailbox = %v, %v; want signup", after, err)
			}
		})
	}
}

// unlink ends the only link, after strangers have tried.
func (a *abroad) unlink(t *testing.T) {
	t.Helper()
	ctx := a.asOwner(t)
	list, err := a.providers.Links(ctx, &authpb.ListLinksRequest{})
	if err != nil || len(list.GetLinks()) != 1 || list.GetLinks()[0].GetProvider() != a.provider {
		t.Fatalf("Links = %v, %v", list, err)
	}
	req := &authpb.UnlinkRequest{Id: list.GetLinks()[0].GetId()}
	if _, err := a.providers.Unlink(a.otherOwner(t), req); errors.Code(err) != codes.NotFound {
		t.Errorf("somebody else unlinks: %v, want NotFound", err)
	}
	if _, err := a.providers.Unlink(ctx, req); err != nil {
		t.Error(err)
	}
}

// TestSignInRefused tries what strangers, and a provider that is not itself,
// may send.
func TestSignInRefused(t *testing.T) {
	t.Parallel()
	a := setupAbroad(t, "sso")
	jane := oidctest.Person{Subject: "jane", Email: a.owner, Verified: true}
	complete := func(state, code, verifier string) error {
		_, err := a.providers.Complete(t.Context(), &authpb.CompleteSignInRequest{State: state, Code: code, Verifier: verifier})
		return err
	}
	whole := func() error { _, _, err := a.signIn(t); return err }
	for _, tt := range []struct {
		name  string
		twist func(map[string]any)
		who   oidctest.Person
		do    func() error
		want  codes.Code
	}{
		{"state of nobody", nil, jane, func() error {
			b := a.begin(t)
			_, code := a.issuer.Visit(t, b.url)
			return complete("ABCDEFGHIJKLMNOPQRSTUVWXYZ", code, b.verifier)
		}, codes.InvalidArgument},
		{"another browser", nil, jane, func() error {
			state, code := a.issuer.Visit(t, a.begin(t).url)
			return complete(state, code, a.begin(t).verifier)
		}, codes.InvalidArgument},
		{"replayed", nil, jane, func() error {
			b := a.begin(t)
			state, code := a.issuer.Visit(t, b.url)
			if err := complete(state, code, b.verifier); err != nil {
				return nil
			}
			return complete(state, code, b.verifier)
		}, codes.InvalidArgument},
		{"replayed code in a state of its own", nil, jane, func() error {
			one, two := a.begin(t), a.begin(t)
			state, code := a.issuer.Visit(t, one.url)
			if err := complete(state, code, one.verifier); err != nil {
				return nil
			}
			fresh, _ := a.issuer.Visit(t, two.url)
			return complete(fresh, code, two.verifier)
		}, codes.InvalidArgument},
		{"code of another PKCE verifier", nil, jane, func() error {
			one, two := a.begin(t), a.begin(t)
			_, code := a.issuer.Visit(t, one.url)
			state, _ := a.issuer.Visit(t, two.url)
			return complete(state, code, two.verifier)
		}, codes.InvalidArgument},
		{"nonce", func(c map[string]any) { c["nonce"] = "another" }, jane, whole, codes.InvalidArgument},
		{"no nonce", func(c map[string]any) { delete(c, "nonce") }, jane, whole, codes.InvalidArgument},
		{"audience", func(c map[string]any) { c["aud"] = "another" }, jane, whole, codes.InvalidArgument},
		{"audiences for another party", func(c map[string]any) { c["aud"] = []string{oidctest.Client, "x"}; c["azp"] = "x" }, jane, whole, codes.InvalidArgument},
		{"issuer", func(c map[string]any) { c["iss"] = "https://example.com" }, jane, whole, codes.InvalidArgument},
		{"expired", func(c map[string]any) { c["exp"] = time.Now().Add(-time.Minute).Unix() }, jane, whole, codes.InvalidArgument},
		{"unverified", nil, oidctest.Person{Subject: "jane", Email: a.owner}, whole, codes.FailedPrecondition},
		{"no address", nil, oidctest.Person{Subject: "jane", Verified: true}, whole, codes.FailedPrecondition},
		{"address that is none", nil, oidctest.Person{Subject: "jane", Email: "jane@localhost\r\nBcc: x", Verified: true}, whole, codes.FailedPrecondition},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a.issuer.Be(tt.who)
			a.issuer.Twist(tt.twist)
			if err := tt.do(); errors.Code(err) != tt.want {
				t.Errorf("%v, want %v", err, tt.want)
			}
		})
	}
}

// TestSignInBegins looks at what the browser is sent away with.
func TestSignInBegins(t *testing.T) {
	t.Parallel()
	a := setupAbroad(t, "sso")
	u, err := url.Parse(a.begin(t).url)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if q.Get("redirect_uri") != consoleAddress+signInPath || q.Get("code_challenge_method") != "S256" || len(q.Get("state")) < 26 || len(q.Get("nonce")) < 26 {
		t.Errorf("sent away to %s", u)
	}
	for name, req := range map[string]*authpb.BeginSignInRequest{
		"no challenge":     {Provider: "sso"},
		"another provider": {Provider: "google", Challenge: challengeOf("x")},
	} {
		if _, err := a.providers.Begin(t.Context(), req); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestLink links an account elsewhere that has another mailbox, and signs up with
// one that nobody has.
func TestLink(t *testing.T) {
	t.Parallel()
	a := setupAbroad(t, "sso")
	a.issuer.Be(oidctest.Person{Subject: "work", Email: "work@" + a.namespace + ".example.com", Verified: true})
	ctx := a.asOwner(t)
	begin := func(ctx context.Context, secret string) (browser, error) {
		b := browser{verifier: rand.Text()}
		rsp, err := a.providers.BeginLink(ctx, &authpb.BeginLinkRequest{Provider: "sso", Challenge: challengeOf(b.verifier), Password: secret})
		b.url = rsp.GetUrl()
		return b, err
	}
	if _, err := begin(ctx, "not it"); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("without the password: %v, want InvalidArgument", err)
	}
	b, err := begin(ctx, a.password)
	if err != nil {
		t.Fatal(err)
	}
	state, code := a.issuer.Visit(t, b.url)
	req := &authpb.CompleteSignInRequest{State: state, Code: code, Verifier: b.verifier}
	if _, err := a.providers.Link(ctx, req); err != nil {
		t.Fatal(err)
	}
	if rsp, _, err := a.signIn(t); err != nil || claims(t, rsp.GetToken().GetAccessToken()).Subject != a.owner {
		t.Errorf("signing in with it = %v, %v", rsp, err)
	}
	// It is nobody else's, and what one begins another does not finish.
	stranger := a.otherOwner(t)
	b, err = begin(ctx, a.password)
	if err != nil {
		t.Fatal(err)
	}
	state, code = a.issuer.Visit(t, b.url)
	if _, err := a.providers.Link(stranger, &authpb.CompleteSignInRequest{State: state, Code: code, Verifier: b.verifier}); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("another person goes on: %v, want InvalidArgument", err)
	}
	b, err = begin(stranger, a.password)
	if err != nil {
		t.Fatal(err)
	}
	state, code = a.issuer.Visit(t, b.url)
	if _, err := a.providers.Link(stranger, &authpb.CompleteSignInRequest{State: state, Code: code, Verifier: b.verifier}); errors.Code(err) != codes.AlreadyExists {
		t.Errorf("linking what another has linked: %v, want AlreadyExists", err)
	}
}

// TestSignUpTicket makes an owner who has signed in elsewhere, as namespaces does.
func TestSignUpTicket(t *testing.T) {
	t.Parallel()
	a := setupAbroad(t, "sso")
	email := "new@" + a.namespace + ".example.com"
	a.issuer.Be(oidctest.Person{Subject: "new", Email: email, Verified: true})
	rsp, b, err := a.signIn(t)
	if err != nil || !slices.Equal(rsp.GetWants(), []string{"signup"}) {
		t.Fatalf("signing in with an unknown mailbox = %v, %v", rsp, err)
	}
	prove := &authpb.ProveTicketRequest{Ticket: rsp.GetTicket(), Verifier: b.verifier}
	if _, err := a.components.ProveTicket(a.asOwner(t), prove); err == nil {
		t.Error("a person proves a ticket")
	}
	proven, err := a.components.ProveTicket(component(t), prove)
	if err != nil || proven.GetEmail() != email {
		t.Fatalf("ProveTicket = %v, %v", proven, err)
	}
	owner := &authpb.CreateOwnerRequest{Namespace: a.namespace + "-new", Id: email, PasswordHash: hashOf(t, rand.Text()), Mailbox: email, Login: proven.GetLogin()}
	for range 2 { // as an order that is carried out twice
		if _, err := a.components.CreateOwner(component(t), owner); err != nil {
			t.Fatal(err)
		}
	}
	in, err := a.providers.Redeem(t.Context(), &authpb.RedeemTicketRequest{Ticket: rsp.GetTicket(), Verifier: b.verifier})
	if err != nil || claims(t, in.GetToken().GetAccessToken()).Issuer != owner.GetNamespace() {
		t.Errorf("logging in after signing up = %v, %v", in, err)
	}
}
