package auth

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pgtest"
	"github.com/micro/platform/internal/seal"
	authpb "github.com/micro/platform/proto/auth"
)

// TestForgedTokens shows that no way in takes a token that auth did not sign.
func TestForgedTokens(t *testing.T) {
	t.Parallel()
	p := setup(t)
	secret := p.generate(t, &authpb.GenerateRequest{Id: "svc", Type: "service", Scopes: []string{"service"}}).GetSecret()
	good := p.login(t, p.namespace, "svc", secret).GetAccessToken()
	key := p.listKeys(t)[0]
	signer, err := newSigner(db{p.db}, seal.Cluster{Secret: pgtest.Secret})
	if err == nil {
		err = signer.load(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(method jwt.SigningMethod, key any, kid string, change func(*identity.Claims)) string {
		c := claims(t, good)
		change(&c)
		token := jwt.NewWithClaims(method, c)
		token.Header["kid"] = kid
		s, err := token.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	same := func(*identity.Claims) {}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: key.GetDer()})
	parts := strings.Split(good, ".")
	operator := strings.Split(sign(jwt.SigningMethodRS256, foreign, key.GetId(), func(c *identity.Claims) { c.Issuer = "micro" }), ".")
	for name, token := range map[string]string{
		"alg none":                     sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, key.GetId(), same),
		"HS256 with the public key":    sign(jwt.SigningMethodHS256, key.GetDer(), key.GetId(), same),
		"HS256 with the PEM of it":     sign(jwt.SigningMethodHS256, public, key.GetId(), same),
		"RS512":                        sign(jwt.SigningMethodRS512, signer.state.Load().private, key.GetId(), same),
		"unknown kid":                  sign(jwt.SigningMethodRS256, signer.state.Load().private, "0123456789abcdef", same),
		"kid that is a path":           sign(jwt.SigningMethodRS256, signer.state.Load().private, "../"+key.GetId(), same),
		"another server's key":         sign(jwt.SigningMethodRS256, foreign, key.GetId(), same),
		"no issuer":                    sign(jwt.SigningMethodRS256, signer.state.Load().private, key.GetId(), func(c *identity.Claims) { c.Issuer = "" }),
		"another issuer put in":        parts[0] + "." + operator[1] + "." + parts[2],
		"expired, the leeway too":      sign(jwt.SigningMethodRS256, signer.state.Load().private, key.GetId(), func(c *identity.Claims) { c.ExpiresAt = jwt.NewNumericDate(time.Now().Add(-identity.Leeway)) }),
		"without an end":               sign(jwt.SigningMethodRS256, signer.state.Load().private, key.GetId(), func(c *identity.Claims) { c.ExpiresAt = nil }),
		"grants that nobody can read":  sign(jwt.SigningMethodRS256, signer.state.Load().private, key.GetId(), func(c *identity.Claims) { c.Grants = []string{"x"} }),
		"cut":                          good[:len(good)-1],
		"cut in the middle":            good[:len(good)/2],
		"without a signature":          parts[0] + "." + parts[1] + ".",
		"a megabyte":                   good + strings.Repeat("A", 1<<20),
		"a megabyte of claims":         parts[0] + "." + strings.Repeat("A", 1<<20) + "." + parts[2],
		"a megabyte of dots":           strings.Repeat(".", 1<<20),
		"its bytes with a line's end":  good[:20] + "\n" + good[20:],
		"with padding":                 good + "==",
		"a component's, in wrong case": sign(jwt.SigningMethodRS256, foreign, key.GetId(), func(c *identity.Claims) { c.Type = "component" }),
	} {
		_, byInspect := p.auth.Inspect(t.Context(), &authpb.InspectRequest{Token: token})
		wantInvalid(t, name+": Inspect", byInspect)
		_, byRefresh := p.renew(t, token)
		wantInvalid(t, name+": as a refresh token", byRefresh)
		_, bySecret := p.auth.Token(t.Context(), &authpb.TokenRequest{Id: "svc", Secret: token, Options: namespace(p.namespace)})
		// It counts as a guess, so the last ones are told to wait.
		if code := errors.Code(bySecret); code != codes.InvalidArgument && code != codes.ResourceExhausted {
			t.Errorf("%s: as a secret: %v", name, bySecret)
		}
		if strings.Contains(token, "\n") {
			continue // no header has that
		}
		if _, err := p.accounts.List(bearer(t, token), &authpb.ListAccountsRequest{}); err == nil {
			t.Errorf("%s: taken for a caller", name)
		}
	}
}

// TestTokenOfAService shows what services that Micro's runtime made rely on: a
// JWT in the place of a secret or a refresh token.
func TestTokenOfAService(t *testing.T) {
	t.Parallel()
	p := setup(t)
	secret := p.generate(t, &authpb.GenerateRequest{Id: "svc", Type: "service", Scopes: []string{"service"}}).GetSecret()
	first := p.login(t, p.namespace, "svc", secret)
	bySecret, err := p.auth.Token(t.Context(), &authpb.TokenRequest{Id: "svc", Secret: first.GetAccessToken(), Options: namespace(p.namespace)})
	if err != nil {
		t.Fatal(err)
	}
	byRefresh, err := p.renew(t, bySecret.GetToken().GetRefreshToken())
	if err != nil {
		t.Fatal(err)
	}
	for what, token := range map[string]*authpb.Token{"as a secret": bySecret.GetToken(), "as a refresh token": byRefresh} {
		c := claims(t, token.GetAccessToken())
		if c.Subject != "svc" || c.Type != "service" || token.GetRefreshToken() != token.GetAccessToken() || token.GetExpiry() < first.GetExpiry() {
			t.Errorf("%s: %+v", what, c)
		}
	}
	if _, err := p.auth.Token(t.Context(), &authpb.TokenRequest{Id: "other", Secret: first.GetAccessToken(), Options: namespace(p.namespace)}); err == nil {
		t.Error("a token opened the account of another id")
	}
	person := p.login(t, "", p.owner, p.password)
	_, err = p.renew(t, person.GetAccessToken())
	wantInvalid(t, "a person's access token", err)
	api, err := p.tokens.Create(bearer(t, first.GetAccessToken()), &authpb.CreateTokenRequest{Name: "a", Grants: []string{"*:*:read"}})
	if err != nil {
		t.Fatal(err)
	}
	limited, err := p.exchange(t, api.GetSecret())
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.renew(t, limited.Token)
	wantInvalid(t, "one that stands for an API token", err)

	if _, err := p.auth.Logout(t.Context(), &authpb.LogoutRequest{RefreshToken: first.GetRefreshToken()}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what descends from the login ends with it", func() bool {
		_, err := p.renew(t, byRefresh.GetRefreshToken())
		return err != nil
	})
	wantInvalid(t, "after the login has ended", func() error { _, err := p.renew(t, first.GetAccessToken()); return err }())
}
