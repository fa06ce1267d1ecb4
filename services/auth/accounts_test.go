package auth

import (
	"context"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/password"
	authpb "github.com/micro/platform/proto/auth"
)

func namespace(ns string) *authpb.Options { return &authpb.Options{Namespace: ns} }

// TestGuards says who may call what: each caller against each guarded method,
// for the caller's own namespace and for another.
func TestGuards(t *testing.T) {
	t.Parallel()
	p := setup(t)
	p.generate(t, &authpb.GenerateRequest{Id: "plain", Secret: "password of plain"})
	service := p.generate(t, &authpb.GenerateRequest{Id: "svc", Type: "service", Scopes: []string{"service"}})
	callers := map[string]context.Context{
		"anonymous": t.Context(),
		"owner":     p.asOwner(t),
		"plain":     bearer(t, p.login(t, p.namespace, "plain", "password of plain").GetAccessToken()),
		"service":   bearer(t, p.login(t, p.namespace, "svc", service.GetSecret()).GetAccessToken()),
		"operator":  p.asOperator(t),
		"component": component(t),
	}
	const (
		ok     = codes.OK
		anon   = codes.Unauthenticated
		denied = codes.PermissionDenied
	)
	methods := map[string]func(context.Context, string) error{
		"Accounts.List": func(ctx context.Context, ns string) error {
			_, err := p.accounts.List(ctx, &authpb.ListAccountsRequest{Options: namespace(ns)})
			return err
		},
		"Rules.List": func(ctx context.Context, ns string) error {
			_, err := p.rules.List(ctx, &authpb.ListRequest{Options: namespace(ns)})
			return err
		},
		// Those that change name what is not there, so that the order of the
		// cases does not matter: who passes the guard is told so.
		"Accounts.Delete": func(ctx context.Context, ns string) error {
			_, err := p.accounts.Delete(ctx, &authpb.DeleteAccountRequest{Id: "absent", Options: namespace(ns)})
			return passed(err)
		},
		"Rules.Delete": func(ctx context.Context, ns string) error {
			_, err := p.rules.Delete(ctx, &authpb.DeleteRequest{Id: "absent", Options: namespace(ns)})
			return passed(err)
		},
		"Rules.Create": func(ctx context.Context, ns string) error {
			_, err := p.rules.Create(ctx, &authpb.CreateRequest{Options: namespace(ns)})
			return passed(err)
		},
		"Auth.Generate": func(ctx context.Context, ns string) error {
			_, err := p.auth.Generate(ctx, &authpb.GenerateRequest{Id: "x", Type: "wrong", Options: namespace(ns)})
			return passed(err)
		},
		"Accounts.ChangeSecret": func(ctx context.Context, ns string) error {
			_, err := p.accounts.ChangeSecret(ctx, &authpb.ChangeSecretRequest{Id: "absent", NewSecret: "long enough", Options: namespace(ns)})
			return passed(err)
		},
		"Components.CreateOwner": func(ctx context.Context, ns string) error {
			_, err := p.components.CreateOwner(ctx, &authpb.CreateOwnerRequest{Namespace: ns})
			return passed(err)
		},
	}
	admin := map[string]codes.Code{"anonymous": anon, "owner": ok, "plain": denied, "service": ok, "operator": ok, "component": ok}
	member := map[string]codes.Code{"anonymous": anon, "owner": ok, "plain": ok, "service": ok, "operator": ok, "component": ok}
	want := map[string]map[string]codes.Code{
		"Accounts.List": admin, "Accounts.Delete": admin, "Rules.Create": admin, "Rules.Delete": admin, "Auth.Generate": admin,
		"Rules.List": member, "Accounts.ChangeSecret": member,
		"Components.CreateOwner": {"anonymous": anon, "owner": denied, "plain": denied, "service": denied, "operator": denied, "component": ok},
	}
	for method, call := range methods {
		for who, ctx := range callers {
			if got := errors.Code(call(ctx, p.namespace)); got != want[method][who] {
				t.Errorf("%s by %s: %v, want %v", method, who, got, want[method][who])
			}
			foreign := want[method][who]
			if foreign == ok && who != "operator" && who != "component" {
				foreign = denied
			}
			if got := errors.Code(call(ctx, "another")); got != foreign {
				t.Errorf("%s of another namespace by %s: %v, want %v", method, who, got, foreign)
			}
		}
	}
}

// passed makes an error of what comes after the guard none.
func passed(err error) error {
	if errors.Code(err) == codes.InvalidArgument {
		return nil
	}
	return err
}

func TestGenerate(t *testing.T) {
	t.Parallel()
	p := setup(t)
	many := make([]string, maxScopes+1)
	for i := range many {
		many[i] = "s"
	}
	for _, tt := range []struct {
		name string
		req  *authpb.GenerateRequest
		want codes.Code
		text string
	}{
		{"least", &authpb.GenerateRequest{Id: "a"}, codes.OK, ""},
		{"namespace micro is one's own", &authpb.GenerateRequest{Id: "b", Options: namespace("micro")}, codes.OK, ""},
		{"same name as an id", &authpb.GenerateRequest{Id: "c", Name: "owner of all"}, codes.OK, ""},
		{"no id", &authpb.GenerateRequest{}, codes.InvalidArgument, "ID required"},
		{"long id", &authpb.GenerateRequest{Id: strings.Repeat("x", maxID+1)}, codes.InvalidArgument, "an id must"},
		{"control character", &authpb.GenerateRequest{Id: "a\nb"}, codes.InvalidArgument, "an id must"},
		{"space at the end", &authpb.GenerateRequest{Id: "a "}, codes.InvalidArgument, "an id must"},
		{"long name", &authpb.GenerateRequest{Id: "d", Name: strings.Repeat("x", maxID+1)}, codes.InvalidArgument, "a name must"},
		{"type component", &authpb.GenerateRequest{Id: "d", Type: "component"}, codes.InvalidArgument, "type must"},
		{"short secret of a program", &authpb.GenerateRequest{Id: "s", Secret: "short"}, codes.OK, ""},
		{"scopes of v3.10", &authpb.GenerateRequest{Id: "t", Scopes: []string{"a,b"}}, codes.OK, ""},
		{"short secret of a person", &authpb.GenerateRequest{Id: "d@example.com", Secret: "short"}, codes.InvalidArgument, "8 to 256"},
		{"long secret", &authpb.GenerateRequest{Id: "d", Secret: strings.Repeat("x", 257)}, codes.InvalidArgument, "1 to 256"},
		{"many scopes", &authpb.GenerateRequest{Id: "d", Scopes: many}, codes.InvalidArgument, "32 scopes"},
		{"scope of rules", &authpb.GenerateRequest{Id: "d", Scopes: []string{"*"}}, codes.InvalidArgument, `scope "*"`},
		{"empty scope", &authpb.GenerateRequest{Id: "d", Scopes: []string{""}}, codes.InvalidArgument, `scope ""`},
		{"scope with a space", &authpb.GenerateRequest{Id: "d", Scopes: []string{"a, b"}}, codes.InvalidArgument, "a scope must"},
		{"large metadata", &authpb.GenerateRequest{Id: "d", Metadata: map[string]string{"k": strings.Repeat("x", maxMetadata)}}, codes.InvalidArgument, "metadata may"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rsp, err := p.auth.Generate(p.asOwner(t), tt.req)
			if errors.Code(err) != tt.want || err != nil && !strings.Contains(errors.FromError(err).Detail, tt.text) {
				t.Fatalf("Generate = %v, want %v %s", err, tt.want, tt.text)
			}
			if err != nil {
				return
			}
			a := rsp.GetAccount()
			if a.GetIssuer() != p.namespace || a.GetType() != "user" || tt.req.GetSecret() == "" && len(a.GetSecret()) < 20 || a.GetMetadata()["created"] == "" {
				t.Errorf("Generate = %v", a)
			}
			p.login(t, p.namespace, a.GetId(), a.GetSecret())
		})
	}
}

func TestGenerateTaken(t *testing.T) {
	t.Parallel()
	p := setup(t)
	p.generate(t, &authpb.GenerateRequest{Id: "bob", Name: "Robert"})
	for want, req := range map[string]*authpb.GenerateRequest{
		"Account with this ID already exists":   {Id: "bob", Name: "other"},
		"Account with this Name already exists": {Id: "other", Name: "Robert"},
	} {
		_, err := p.auth.Generate(p.asOwner(t), req)
		if e := errors.FromError(err); e == nil || e.Detail != want || e.HTTP != 400 || e.ID != "auth" {
			t.Errorf("Generate = %+v, want %q", err, want)
		}
	}
}

func TestAccountsAreBounded(t *testing.T) {
	t.Parallel()
	p := setup(t)
	p.exec(t, `INSERT INTO auth.accounts (namespace, id, type, name, secret)
		SELECT namespace, 'filler' || n, 'user', 'filler' || n, '' FROM auth.accounts, generate_series(1, 9999) n WHERE owner`)
	if _, err := p.auth.Generate(p.asOwner(t), &authpb.GenerateRequest{Id: "one too many"}); errors.Code(err) != codes.ResourceExhausted {
		t.Errorf("Generate = %v, want ResourceExhausted", err)
	}
	// What the platform needs in the namespace it still gets.
	if _, err := p.auth.Generate(component(t), &authpb.GenerateRequest{Id: "svc", Type: "service", Options: namespace(p.namespace)}); err != nil {
		t.Errorf("by a component: %v", err)
	}
}

// TestServiceMakesNoAdmin shows that a tenant's code cannot make itself an
// owner, nor take over a person's account.
func TestServiceMakesNoAdmin(t *testing.T) {
	t.Parallel()
	p := setup(t)
	p.generate(t, &authpb.GenerateRequest{Id: "other", Type: "service", Secret: "secret of other"})
	service := p.generate(t, &authpb.GenerateRequest{Id: "svc", Type: "service", Scopes: []string{"service"}})
	ctx := bearer(t, p.login(t, p.namespace, "svc", service.GetSecret()).GetAccessToken())
	if _, err := p.auth.Generate(ctx, &authpb.GenerateRequest{Id: "x", Scopes: []string{"admin"}}); errors.Code(err) != codes.PermissionDenied {
		t.Errorf("Generate = %v, want PermissionDenied", err)
	}
	if _, err := p.auth.Generate(ctx, &authpb.GenerateRequest{Id: "y", Scopes: []string{"editor"}}); err != nil {
		t.Error(err)
	}
	if _, err := p.accounts.ChangeSecret(ctx, &authpb.ChangeSecretRequest{Id: p.owner, NewSecret: "taken over"}); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("ChangeSecret = %v, want that the old one is needed", err)
	}
	if _, err := p.accounts.ChangeSecret(ctx, &authpb.ChangeSecretRequest{Id: "other", NewSecret: "a new secret"}); err != nil {
		t.Errorf("of another service: %v", err)
	}
	if _, err := p.accounts.Delete(ctx, &authpb.DeleteAccountRequest{Id: p.owner}); errors.Code(err) != codes.PermissionDenied {
		t.Errorf("Delete = %v, want that the owner stays", err)
	}
}

func TestListAccounts(t *testing.T) {
	t.Parallel()
	p := setup(t)
	p.generate(t, &authpb.GenerateRequest{Id: "b"})
	p.generate(t, &authpb.GenerateRequest{Id: "a", Scopes: []string{"editor"}})
	rsp, err := p.accounts.List(p.asOwner(t), &authpb.ListAccountsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, a := range rsp.GetAccounts() {
		ids = append(ids, a.GetId())
		if a.GetSecret() != "" || a.GetIssuer() != p.namespace {
			t.Errorf("List = %v", a)
		}
	}
	if got := strings.Join(ids, " "); got != "a b "+p.owner {
		t.Errorf("List = %s", got)
	}
}

// TestDeleteRevokes shows that a deleted account's tokens stop, and that an
// account that is made again under its id is a new one.
func TestDeleteRevokes(t *testing.T) {
	t.Parallel()
	p := setup(t)
	p.generate(t, &authpb.GenerateRequest{Id: "bob", Secret: "password of bob"})
	old := p.login(t, p.namespace, "bob", "password of bob")
	for want, id := range map[string]string{
		"Missing ID": "", "Account not found with this ID": "absent", "Can't delete your own account": p.owner,
	} {
		_, err := p.accounts.Delete(p.asOwner(t), &authpb.DeleteAccountRequest{Id: id})
		if e := errors.FromError(err); e == nil || e.Detail != want || e.HTTP != 400 {
			t.Errorf("Delete(%q) = %v, want %s", id, err, want)
		}
	}
	if _, err := p.accounts.Delete(p.asOwner(t), &authpb.DeleteAccountRequest{Id: "bob"}); err != nil {
		t.Fatal(err)
	}
	p.wantRevoked(t, old)
	p.generate(t, &authpb.GenerateRequest{Id: "bob", Secret: "password of bob"})
	p.wantRevoked(t, old)
	p.wantGood(t, p.login(t, p.namespace, "bob", "password of bob"))
}

func TestChangeSecret(t *testing.T) {
	t.Parallel()
	p := setup(t)
	p.generate(t, &authpb.GenerateRequest{Id: "bob", Secret: "password of bob"})
	old := p.login(t, p.namespace, "bob", "password of bob")
	own := p.login(t, p.namespace, "bob", "password of bob")
	ctx := bearer(t, own.GetAccessToken())
	for want, req := range map[string]*authpb.ChangeSecretRequest{
		"New secret should not be blank":               {Id: "bob", OldSecret: "password of bob"},
		"Missing ID":                                   {OldSecret: "password of bob", NewSecret: "another password"},
		`the secret of "bob" must have 1 to 256 bytes`: {Id: "bob", OldSecret: "password of bob", NewSecret: strings.Repeat("x", 257)},
		errWrongSecret().Error():                       {Id: "bob", OldSecret: "wrong", NewSecret: "another password"},
	} {
		_, err := p.accounts.ChangeSecret(ctx, req)
		if e := errors.FromError(err); e == nil || e.Detail != want || e.HTTP != 400 {
			t.Errorf("ChangeSecret(%v) = %v, want %s", req, err, want)
		}
	}
	if _, err := p.accounts.ChangeSecret(ctx, &authpb.ChangeSecretRequest{Id: "bob", OldSecret: "password of bob", NewSecret: "another password"}); err != nil {
		t.Fatal(err)
	}
	p.wantGood(t, p.login(t, p.namespace, "bob", "another password")) // at once, within the same second
	p.wantRevoked(t, old)
	p.wantGood(t, own) // who changed it stays logged in
	if _, err := p.accounts.ChangeSecret(p.asOperator(t), &authpb.ChangeSecretRequest{Id: "bob", NewSecret: "from the operator", Options: namespace(p.namespace)}); err != nil {
		t.Errorf("an operator needs no old secret: %v", err)
	}
	p.login(t, p.namespace, "bob", "from the operator")
}

// wantRevoked waits for the second that a revocation may take.
func (p *platform) wantRevoked(t *testing.T, token *authpb.Token) {
	t.Helper()
	eventually(t, "the access token is refused", func() bool {
		_, err := p.auth.Inspect(t.Context(), &authpb.InspectRequest{Token: token.GetAccessToken()})
		return err != nil
	})
	_, err := p.auth.Inspect(t.Context(), &authpb.InspectRequest{Token: token.GetAccessToken()})
	wantInvalid(t, "access token", err)
	_, err = p.renew(t, token.GetRefreshToken())
	wantInvalid(t, "refresh token", err)
}

func (p *platform) wantGood(t *testing.T, token *authpb.Token) {
	t.Helper()
	if _, err := p.auth.Inspect(t.Context(), &authpb.InspectRequest{Token: token.GetAccessToken()}); err != nil {
		t.Errorf("access token: %v", err)
	}
	if _, err := p.renew(t, token.GetRefreshToken()); err != nil {
		t.Errorf("refresh token: %v", err)
	}
}

func TestCreateOwner(t *testing.T) {
	t.Parallel()
	p := setup(t)
	hash, err := password.NewHasher().Hash(t.Context(), "another password")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		req  *authpb.CreateOwnerRequest
		want codes.Code
	}{
		{"again", &authpb.CreateOwnerRequest{Namespace: p.namespace, Id: p.owner, PasswordHash: hash}, codes.OK},
		{"owner of another namespace", &authpb.CreateOwnerRequest{Namespace: p.namespace + "-b", Id: p.owner, PasswordHash: hash}, codes.AlreadyExists},
		{"no id", &authpb.CreateOwnerRequest{Namespace: p.namespace, PasswordHash: hash}, codes.InvalidArgument},
		{"no namespace", &authpb.CreateOwnerRequest{Id: "x", PasswordHash: hash}, codes.InvalidArgument},
		{"plain text", &authpb.CreateOwnerRequest{Namespace: p.namespace, Id: "x", PasswordHash: "plain text"}, codes.InvalidArgument},
	} {
		if _, err := p.components.CreateOwner(component(t), tt.req); errors.Code(err) != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	c := claims(t, p.login(t, "", p.owner, p.password).GetAccessToken()) // the first password still
	if c.Type != identity.User || !slices.Equal(c.Scopes, []string{"admin", "role:owner"}) || c.Name != p.owner {
		t.Errorf("owner's token has %+v", c)
	}
}
