package auth

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/micro/platform/framework/errors"
	authpb "github.com/micro/platform/proto/auth"
)

// TestAnswersOfOldClients goes through what clients of Micro have always been
// told: the code, who says it, and the text, which scripts may look for. A call
// may be wrong in two ways: the table shows which one is told.
func TestAnswersOfOldClients(t *testing.T) {
	t.Parallel()
	p := setup(t)
	p.generate(t, &authpb.GenerateRequest{Id: "bob", Name: "Robert", Secret: "password of bob"})
	p.generate(t, &authpb.GenerateRequest{Id: "carol", Secret: "password of carol"})
	owner := p.asOwner(t)
	plain := bearer(t, p.login(t, p.namespace, "bob", "password of bob").GetAccessToken())
	nobody := t.Context()
	o := namespace(p.namespace)
	good := newRule("r", "", 0)
	generate := func(req *authpb.GenerateRequest) func(context.Context) error {
		return func(ctx context.Context) error { _, err := p.auth.Generate(ctx, req); return err }
	}
	inspect := func(token string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := p.auth.Inspect(ctx, &authpb.InspectRequest{Token: token, Options: namespace("another")})
			return err
		}
	}
	token := func(req *authpb.TokenRequest) func(context.Context) error {
		return func(ctx context.Context) error { _, err := p.auth.Token(ctx, req); return err }
	}
	remove := func(id, ns string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := p.accounts.Delete(ctx, &authpb.DeleteAccountRequest{Id: id, Options: namespace(ns)})
			return err
		}
	}
	change := func(req *authpb.ChangeSecretRequest) func(context.Context) error {
		return func(ctx context.Context) error { _, err := p.accounts.ChangeSecret(ctx, req); return err }
	}
	create := func(r *authpb.Rule) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := p.rules.Create(ctx, &authpb.CreateRequest{Rule: r, Options: o})
			return err
		}
	}
	forget := func(id string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := p.rules.Delete(ctx, &authpb.DeleteRequest{Id: id, Options: o})
			return err
		}
	}
	rule := func(change func(*authpb.Rule)) *authpb.Rule {
		r := newRule("r", "", 0)
		change(r)
		return r
	}
	for _, tt := range []struct {
		name string
		call func(context.Context) error
		ctx  context.Context
		http int32
		id   string
		text string // the answer begins with it
	}{
		{"an id before an account", generate(&authpb.GenerateRequest{}), nobody, 400, "auth.Auth.Generate", "ID required"},
		{"no account", generate(&authpb.GenerateRequest{Id: "x"}), nobody, 401, "auth.Auth.Generate", "an account is required"},
		{"no admin", generate(&authpb.GenerateRequest{Id: "x"}), plain, 403, "auth.Auth.Generate", `account "bob" may not`},
		{"another namespace", generate(&authpb.GenerateRequest{Id: "x", Options: namespace("another")}), owner, 403, "auth.Auth.Generate", `no access to namespace "another"`},
		{"an id that is taken", generate(&authpb.GenerateRequest{Id: "bob"}), owner, 400, "auth", "Account with this ID already exists"},
		{"a name that is taken", generate(&authpb.GenerateRequest{Id: "x", Name: "Robert"}), owner, 400, "auth", "Account with this Name already exists"},
		{"control characters", generate(&authpb.GenerateRequest{Id: "a\x1b[2J"}), owner, 400, "auth.Auth.Generate", "an id must have at most 128 bytes, no control characters"},
		{"turned letters", generate(&authpb.GenerateRequest{Id: "a\u202eb"}), owner, 400, "auth.Auth.Generate", "an id must"},
		{"an unknown type", generate(&authpb.GenerateRequest{Id: "x", Type: "component"}), owner, 400, "auth.Auth.Generate", `type must be "user" or "service"`},

		{"no token", inspect(""), nobody, 400, "auth.Auth.Inspect", "invalid token provided"},
		{"an unknown token", inspect("a.b.c"), nobody, 400, "auth.Auth.Inspect", "invalid token provided"},

		{"nothing", token(&authpb.TokenRequest{}), nobody, 400, "auth.Auth.Token", "Credentials or a refresh token required"},
		{"an id alone", token(&authpb.TokenRequest{Id: "bob"}), nobody, 400, "auth.Auth.Token", "Credentials or a refresh token required"},
		{"an unknown account", token(&authpb.TokenRequest{Id: "nobody", Secret: "wrong", Options: o}), nobody, 400, "auth.Auth.Token", "Secret not correct"},
		{"a wrong secret", token(&authpb.TokenRequest{Id: "bob", Secret: "wrong", Options: o}), nobody, 400, "auth.Auth.Token", "Secret not correct"},
		{"an unknown refresh token", token(&authpb.TokenRequest{RefreshToken: "8a1f0c1e-0000-0000-0000-000000000000"}), nobody, 400, "auth.Auth.Token", "invalid token provided"},
		{"a refresh token before credentials", token(&authpb.TokenRequest{RefreshToken: "x", Id: "bob", Secret: "password of bob"}), nobody, 400, "auth.Auth.Token", "invalid token provided"},

		{"an id before an account", remove("", ""), nobody, 400, "auth.Accounts.Delete", "Missing ID"},
		{"no account", remove("bob", ""), nobody, 401, "auth.Accounts.Delete", "an account is required"},
		{"no admin", remove("bob", ""), plain, 403, "auth.Accounts.Delete", `account "bob" may not`},
		{"an unknown account", remove("nobody", ""), owner, 400, "auth.Accounts.Delete", "Account not found with this ID"},
		{"one's own", remove(p.owner, "micro"), owner, 400, "auth.Accounts.Delete", "Can't delete your own account"},

		{"no new secret", change(&authpb.ChangeSecretRequest{Id: "bob"}), nobody, 400, "auth.Accounts.ChangeSecret", "New secret should not be blank"},
		{"no account", change(&authpb.ChangeSecretRequest{Id: "bob", NewSecret: "another password"}), nobody, 401, "auth.Accounts.ChangeSecret", "an account is required"},
		{"a wrong old secret", change(&authpb.ChangeSecretRequest{Id: "bob", OldSecret: "wrong", NewSecret: "another password"}), plain, 400, "auth.Accounts.ChangeSecret", "Secret not correct"},
		{"an unknown account", change(&authpb.ChangeSecretRequest{Id: "nobody", OldSecret: "wrong", NewSecret: "another password"}), plain, 400, "auth.Accounts.ChangeSecret", "Secret not correct"},
		{"another's, whose secret is known", change(&authpb.ChangeSecretRequest{Id: "carol", OldSecret: "password of carol", NewSecret: "another password"}), plain, 0, "", ""},

		{"no account", create(good), nobody, 401, "auth.Rules.Create", "an account is required"},
		{"no rule", create(nil), owner, 400, "auth.Rules.Create", "Rule missing"},
		{"no id", create(rule(func(r *authpb.Rule) { r.Id = "" })), owner, 400, "auth.Rules.Create", "ID missing"},
		{"no resource", create(rule(func(r *authpb.Rule) { r.Resource = nil })), owner, 400, "auth.Rules.Create", "Resource missing"},
		{"no access", create(rule(func(r *authpb.Rule) { r.Access = 0 })), owner, 400, "auth.Rules.Create", "Access missing"},
		{"a rule", create(good), owner, 0, "", ""},
		{"an id that is taken", create(good), owner, 400, "auth.Rules.Create", "A rule with this ID already exists"},
		{"no id", forget(""), owner, 400, "auth.Rules.Delete", "ID missing"},
		{"an unknown id", forget("nothing"), owner, 400, "auth.Rules.Delete", "Rule not found"},
	} {
		e := errors.FromError(tt.call(tt.ctx))
		switch {
		case tt.http == 0 && e != nil:
			t.Errorf("%s: %v", tt.name, e)
		case tt.http != 0 && (e == nil || e.HTTP != tt.http || e.ID != tt.id || !strings.HasPrefix(e.Detail, tt.text)):
			t.Errorf("%s: %+v, want %d of %s: %s", tt.name, e, tt.http, tt.id, tt.text)
		}
	}
}

// TestDefaultsOfOldClients shows what is filled in.
func TestDefaultsOfOldClients(t *testing.T) {
	t.Parallel()
	p := setup(t)
	a := p.generate(t, &authpb.GenerateRequest{Id: "bob", Provider: "ignored"})
	if a.GetType() != "user" || a.GetName() != "bob" || a.GetIssuer() != p.namespace || len(a.GetSecret()) < 32 || a.GetMetadata()["created"] == "" {
		t.Errorf("Generate = %v", a)
	}
	p.generate(t, &authpb.GenerateRequest{Id: "eve", Name: "Evelyn", Secret: "password of eve", Metadata: map[string]string{"created": "then"}})
	token := p.login(t, p.namespace, "Evelyn", "password of eve") // by name as a second try
	c := claims(t, token.GetAccessToken())
	if c.Subject != "eve" || c.Metadata["created"] != "then" {
		t.Errorf("the token says %+v", c)
	}
	if life := time.Unix(token.GetExpiry(), 0).Sub(time.Unix(token.GetCreated(), 0)); life != 15*time.Minute {
		t.Errorf("without token_expiry it lives %v", life)
	}
	if token.GetRefreshToken() == "" || strings.Count(token.GetAccessToken(), ".") != 2 {
		t.Errorf("clients do not take %v", token)
	}
}
