package auth

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	authpb "github.com/micro/platform/proto/auth"
)

func (p *platform) createToken(t testing.TB, req *authpb.CreateTokenRequest) *authpb.CreateTokenResponse {
	t.Helper()
	rsp, err := p.tokens.Create(p.asOwner(t), req)
	if err != nil {
		t.Fatal(err)
	}
	return rsp
}

// exchange answers the caller that an API token stands for.
func (p *platform) exchange(t testing.TB, secret string) (identity.Caller, error) {
	t.Helper()
	rsp, err := p.components.Exchange(component(t), &authpb.ExchangeRequest{Token: secret})
	if err != nil {
		return identity.Caller{}, err
	}
	c, err := p.verifier.Verify(t.Context(), rsp.GetAccessToken())
	if err != nil {
		t.Fatal(err)
	}
	if c.Expires.Unix() != rsp.GetExpires() || rsp.GetKeep() < 0 || rsp.GetKeep() > 60 {
		t.Errorf("expires %d, keep %d for a token to %v", rsp.GetExpires(), rsp.GetKeep(), c.Expires)
	}
	return c, nil
}

func TestAPITokenStandsForItsMaker(t *testing.T) {
	t.Parallel()
	p := setup(t)
	made := p.createToken(t, &authpb.CreateTokenRequest{Name: "ci", Grants: []string{"notes:*:write", "*:*:read"}})
	if !strings.HasPrefix(made.GetSecret(), "mtk_") {
		t.Errorf("secret is %q", made.GetSecret())
	}
	if life := made.GetToken().GetExpires() - made.GetToken().GetCreated(); life != 90*24*3600 {
		t.Errorf("it lives %d seconds", life)
	}
	c, err := p.exchange(t, made.GetSecret())
	if err != nil {
		t.Fatal(err)
	}
	if c.ID != p.owner || c.Namespace != p.namespace || !c.Admin() || !c.Limited() || c.Session != made.GetToken().GetId() {
		t.Errorf("stands for %+v", c)
	}
	if left := time.Until(c.Expires); left > 5*time.Minute {
		t.Errorf("the access token lives %v", left)
	}
	whose, err := p.auth.Inspect(t.Context(), &authpb.InspectRequest{Token: made.GetSecret()})
	if err != nil || whose.GetAccount().GetId() != p.owner || whose.GetAccount().GetIssuer() != p.namespace || whose.GetAccount().GetSecret() != "" {
		t.Errorf("Inspect = %v, %v", whose, err)
	}
	_, err = p.auth.Inspect(t.Context(), &authpb.InspectRequest{Token: made.GetSecret() + "x"})
	wantInvalid(t, "an unknown API token", err)
	list, err := p.tokens.List(p.asOwner(t), &authpb.ListTokensRequest{})
	if err != nil || len(list.GetTokens()) != 1 {
		t.Fatalf("List = %v, %v", list, err)
	}
	if got := list.GetTokens()[0]; got.GetLastUsed() == 0 || got.GetName() != "ci" || got.GetAccount() != p.owner {
		t.Errorf("listed %v", got)
	}
	const q = `SELECT count(*) FROM auth.api_tokens t WHERE position($1 IN t::text) > 0`
	var n int
	if err := p.db.QueryRow(t.Context(), q, made.GetSecret()).Scan(&n); err != nil || n != 0 {
		t.Errorf("the token itself is in %d rows, %v", n, err)
	}
}

func TestAPITokenEnds(t *testing.T) {
	t.Parallel()
	p := setup(t)
	p.generate(t, &authpb.GenerateRequest{Id: "bob", Secret: "bob's password"})
	bob := bearer(t, p.login(t, p.namespace, "bob", "bob's password").GetAccessToken())
	create := func(name string) *authpb.CreateTokenResponse {
		rsp, err := p.tokens.Create(bob, &authpb.CreateTokenRequest{Name: name, Grants: []string{"*:*:read"}})
		if err != nil {
			t.Fatal(err)
		}
		return rsp
	}
	for _, tt := range []struct {
		name string
		end  func(made *authpb.CreateTokenResponse) error
	}{
		{"revoked by its maker", func(made *authpb.CreateTokenResponse) error {
			_, err := p.tokens.Revoke(bob, &authpb.RevokeTokenRequest{Id: made.GetToken().GetName()})
			return err
		}},
		{"revoked by an admin", func(made *authpb.CreateTokenResponse) error {
			_, err := p.tokens.Revoke(p.asOwner(t), &authpb.RevokeTokenRequest{Id: made.GetToken().GetId()})
			return err
		}},
		{"expired", func(made *authpb.CreateTokenResponse) error {
			p.exec(t, `UPDATE auth.api_tokens SET expires_at = now() - interval '1 second' WHERE id = '`+made.GetToken().GetId()+`'`)
			return nil
		}},
		{"account gone", func(*authpb.CreateTokenResponse) error {
			_, err := p.accounts.Delete(p.asOwner(t), &authpb.DeleteAccountRequest{Id: "bob"})
			return err
		}},
	} {
		made := create(tt.name)
		before, err := p.exchange(t, made.GetSecret())
		if err != nil {
			t.Fatal(err)
		}
		if err := tt.end(made); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if _, err := p.exchange(t, made.GetSecret()); errors.Code(err) != codes.Unauthenticated {
			t.Errorf("%s: exchange = %v", tt.name, err)
		}
		if tt.name == "expired" { // its access token expires by itself
			continue
		}
		eventually(t, tt.name+": the exchanged token is refused", func() bool {
			_, err := p.auth.Inspect(t.Context(), &authpb.InspectRequest{Token: before.Token})
			return errors.Code(err) == codes.InvalidArgument
		})
	}
}

func TestAPITokenMakesNoCredentials(t *testing.T) {
	t.Parallel()
	p := setup(t)
	made := p.createToken(t, &authpb.CreateTokenRequest{Name: "all", Grants: []string{"*:*:write"}})
	c, err := p.exchange(t, made.GetSecret())
	if err != nil {
		t.Fatal(err)
	}
	ctx := bearer(t, c.Token)
	_, byCreate := p.tokens.Create(ctx, &authpb.CreateTokenRequest{Name: "more", Grants: []string{"*:*:write"}})
	_, byGenerate := p.auth.Generate(ctx, &authpb.GenerateRequest{Id: "eve", Scopes: []string{"admin"}})
	_, byChange := p.accounts.ChangeSecret(ctx, &authpb.ChangeSecretRequest{Id: p.owner, OldSecret: p.password, NewSecret: "another password"})
	for what, err := range map[string]error{"Create": byCreate, "Generate": byGenerate, "ChangeSecret": byChange} {
		if errors.Code(err) != codes.PermissionDenied {
			t.Errorf("%s = %v", what, err)
		}
	}
	if _, err := p.accounts.List(ctx, &authpb.ListAccountsRequest{}); err != nil {
		t.Errorf("what it may do: %v", err)
	}
}

func TestAPITokenOfOperatorStaysAtHome(t *testing.T) {
	t.Parallel()
	p := setup(t)
	made, err := p.tokens.Create(p.asOperator(t), &authpb.CreateTokenRequest{Name: p.namespace, Grants: []string{"*:*:write"}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.exchange(t, made.GetSecret())
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.accounts.List(bearer(t, c.Token), &authpb.ListAccountsRequest{Options: &authpb.Options{Namespace: p.namespace}})
	if errors.Code(err) != codes.PermissionDenied {
		t.Errorf("into another namespace: %v", err)
	}
}

func TestAPITokensOfOthers(t *testing.T) {
	t.Parallel()
	p := setup(t)
	made := p.createToken(t, &authpb.CreateTokenRequest{Name: "mine", Grants: []string{"*:*:read"}})
	p.generate(t, &authpb.GenerateRequest{Id: "bob", Secret: "bob's password"})
	bob := bearer(t, p.login(t, p.namespace, "bob", "bob's password").GetAccessToken())
	for id, want := range map[string]codes.Code{
		made.GetToken().GetId(): codes.NotFound, "mine": codes.NotFound, "": codes.InvalidArgument, "\x00": codes.InvalidArgument,
	} {
		if _, err := p.tokens.Revoke(bob, &authpb.RevokeTokenRequest{Id: id}); errors.Code(err) != want {
			t.Errorf("a member revokes %q: %v, want %v", id, err, want)
		}
	}
	list, err := p.tokens.List(bob, &authpb.ListTokensRequest{})
	if err != nil || len(list.GetTokens()) != 0 {
		t.Errorf("a member lists %v, %v", list, err)
	}
	other := p.otherOwner(t)
	if _, err := p.tokens.Revoke(other, &authpb.RevokeTokenRequest{Id: made.GetToken().GetId()}); errors.Code(err) != codes.NotFound {
		t.Errorf("another namespace's admin revokes it: %v", err)
	}
	o := &authpb.Options{Namespace: p.namespace}
	if _, err := p.tokens.List(other, &authpb.ListTokensRequest{Options: o}); errors.Code(err) != codes.PermissionDenied {
		t.Errorf("another namespace's admin lists: %v", err)
	}
	if _, err := p.tokens.Revoke(other, &authpb.RevokeTokenRequest{Id: "mine", Options: o}); errors.Code(err) != codes.PermissionDenied {
		t.Errorf("another namespace's admin revokes by name: %v", err)
	}
	if _, err := p.components.Exchange(other, &authpb.ExchangeRequest{Token: made.GetSecret()}); errors.Code(err) != codes.PermissionDenied {
		t.Errorf("a person exchanges: %v", err)
	}
}

func TestCreateTokenRefuses(t *testing.T) {
	t.Parallel()
	p := setup(t)
	owner := p.asOwner(t)
	good := []string{"*:*:read"}
	for _, tt := range []struct {
		name string
		req  *authpb.CreateTokenRequest
		want codes.Code
		text string
	}{
		{"no name", &authpb.CreateTokenRequest{Grants: good}, codes.InvalidArgument, "name"},
		{"control characters", &authpb.CreateTokenRequest{Name: "a\x1b[2J", Grants: good}, codes.InvalidArgument, "name"},
		{"long name", &authpb.CreateTokenRequest{Name: strings.Repeat("a", 65), Grants: good}, codes.InvalidArgument, "name"},
		{"no grants", &authpb.CreateTokenRequest{Name: "a"}, codes.InvalidArgument, "grants"},
		{"unknown access", &authpb.CreateTokenRequest{Name: "a", Grants: []string{"notes:*:admin"}}, codes.InvalidArgument, "read or write"},
		{"many grants", &authpb.CreateTokenRequest{Name: "a", Grants: make([]string, 33)}, codes.InvalidArgument, "grants"},
		{"negative", &authpb.CreateTokenRequest{Name: "a", Grants: good, ExpiresIn: -1}, codes.InvalidArgument, "expires_in"},
		{"two years", &authpb.CreateTokenRequest{Name: "a", Grants: good, ExpiresIn: 2 * 366 * 86400}, codes.InvalidArgument, "expires_in"},
		{"never and a year", &authpb.CreateTokenRequest{Name: "a", Grants: good, ExpiresIn: 1, NeverExpires: true}, codes.InvalidArgument, "never_expires"},
		{"never", &authpb.CreateTokenRequest{Name: "never", Grants: good, NeverExpires: true}, codes.OK, ""},
		{"taken", &authpb.CreateTokenRequest{Name: "never", Grants: good}, codes.AlreadyExists, "never"},
	} {
		_, err := p.tokens.Create(owner, tt.req)
		if errors.Code(err) != tt.want || err != nil && !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v, want %v about %q", tt.name, err, tt.want, tt.text)
		}
	}
	if _, err := p.tokens.Create(t.Context(), &authpb.CreateTokenRequest{Name: "a", Grants: good}); errors.Code(err) != codes.Unauthenticated {
		t.Errorf("without an account: %v", err)
	}
	for _, secret := range []string{"", "mtk_", "mtk_" + strings.Repeat("a", 43), strings.Repeat("mtk_", 1<<18)} {
		if _, err := p.components.Exchange(component(t), &authpb.ExchangeRequest{Token: secret}); errors.Code(err) != codes.Unauthenticated {
			t.Errorf("Exchange(%.10q) = %v", secret, err)
		}
	}
}

// TestAPITokenAsPassword: command lines that know nothing of second factors log in
// with an API token, and have no more than it grants.
func TestAPITokenAsPassword(t *testing.T) {
	t.Parallel()
	p := setup(t)
	made, err := p.tokens.Create(p.asOwner(t), &authpb.CreateTokenRequest{Name: "old", Grants: []string{"store:*:read"}})
	if err != nil {
		t.Fatal(err)
	}
	rsp, err := p.auth.Token(t.Context(), &authpb.TokenRequest{Id: p.owner, Secret: made.GetSecret()})
	if err != nil {
		t.Fatal(err)
	}
	if c := claims(t, rsp.GetToken().GetAccessToken()); c.Subject != p.owner || len(c.Grants) != 1 || c.Grants[0] != "store:*:read" {
		t.Errorf("claims %+v, want the owner's with the grants of the token", c)
	}
	if again, err := p.auth.Token(t.Context(), &authpb.TokenRequest{RefreshToken: rsp.GetToken().GetRefreshToken()}); err != nil || again.GetToken().GetAccessToken() == "" {
		t.Errorf("renewed = %v, %v", again, err)
	}
	if _, err := p.auth.Token(t.Context(), &authpb.TokenRequest{Id: "somebody@example.com", Secret: made.GetSecret()}); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("with the id of another: %v, want InvalidArgument", err)
	}
	if _, err := p.tokens.Revoke(p.asOwner(t), &authpb.RevokeTokenRequest{Id: made.GetToken().GetId()}); err != nil {
		t.Fatal(err)
	}
	for _, req := range []*authpb.TokenRequest{{Id: p.owner, Secret: made.GetSecret()}, {RefreshToken: made.GetSecret()}} {
		if _, err := p.auth.Token(t.Context(), req); errors.Code(err) != codes.InvalidArgument {
			t.Errorf("revoked: %v, want InvalidArgument", err)
		}
	}
}
