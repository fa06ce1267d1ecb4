package auth

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	authpb "github.com/micro/platform/proto/auth"
)

// TestDeployedCodeIsNoAdmin shows that whoever may deploy gains nothing by it:
// a revision's account makes no account that may something, which would outlive it, and
// takes over none, but does what frameworks do at start and later.
func TestDeployedCodeIsNoAdmin(t *testing.T) {
	t.Parallel()
	p := setup(t)
	p.generate(t, &authpb.GenerateRequest{Id: "other", Type: "service", Scopes: []string{"service"}})
	secret := strings.Repeat("s", randomSecret)
	_, err := p.auth.Generate(component(t), &authpb.GenerateRequest{Id: "foo-r1", Secret: secret, Type: "service", Scopes: []string{"service"},
		Metadata: map[string]string{"service": "foo", "version": "latest", "revision": "1"}, Options: namespace(p.namespace)})
	if err != nil {
		t.Fatal(err)
	}
	first := p.login(t, p.namespace, "foo-r1", secret)
	ctx := bearer(t, first.GetAccessToken())
	for call, f := range map[string]func() error{
		"Generate": func() error {
			_, err := p.auth.Generate(ctx, &authpb.GenerateRequest{Id: "more", Type: "service", Scopes: []string{"service"}})
			return err
		},
		"Generate a developer": func() error {
			_, err := p.auth.Generate(ctx, &authpb.GenerateRequest{Id: "more", Scopes: []string{"reader", "developer"}})
			return err
		},
		"Accounts.List": func() error {
			_, err := p.accounts.List(ctx, &authpb.ListAccountsRequest{})
			return err
		},
		"Accounts.Delete": func() error {
			_, err := p.accounts.Delete(ctx, &authpb.DeleteAccountRequest{Id: "other"})
			return err
		},
		"ChangeSecret": func() error {
			_, err := p.accounts.ChangeSecret(ctx, &authpb.ChangeSecretRequest{Id: "other", NewSecret: "taken over"})
			return err
		},
		"ChangeSecret of its own": func() error {
			_, err := p.accounts.ChangeSecret(ctx, &authpb.ChangeSecretRequest{Id: "foo-r1", OldSecret: secret, NewSecret: secret + "2"})
			return err
		},
		"Rules.Create": func() error {
			_, err := p.rules.Create(ctx, &authpb.CreateRequest{Rule: &authpb.Rule{Id: "open", Access: authpb.Access_GRANTED,
				Resource: &authpb.Resource{Type: "service", Name: "*", Endpoint: "*"}}})
			return err
		},
		"Rules.Delete": func() error {
			_, err := p.rules.Delete(ctx, &authpb.DeleteRequest{Id: "default"})
			return err
		},
		"Tokens.Create": func() error {
			_, err := p.tokens.Create(ctx, &authpb.CreateTokenRequest{Name: "more"})
			return err
		},
	} {
		if err := f(); errors.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "deployed revision") {
			t.Errorf("%s by a revision: %v, want PermissionDenied", call, err)
		}
	}
	// As services on Micro's framework do that have users of their own.
	if _, err := p.auth.Generate(ctx, &authpb.GenerateRequest{Id: "joe", Type: "user", Scopes: []string{"reader"}}); err != nil {
		t.Errorf("an account of a person: %v", err)
	}
	if _, err := p.rules.List(ctx, &authpb.ListRequest{}); err != nil {
		t.Errorf("Rules.List: %v", err)
	}
	if _, err := p.auth.Inspect(ctx, &authpb.InspectRequest{Token: first.GetAccessToken()}); err != nil {
		t.Errorf("Inspect: %v", err)
	}
	if _, err := p.renew(t, first.GetRefreshToken()); err != nil {
		t.Errorf("renew: %v", err)
	}
	rsp, err := p.rules.Explain(p.asOwner(t), &authpb.ExplainRequest{Account: "foo-r1", Service: "auth", Endpoint: "Rules.Create"})
	if err != nil || rsp.GetAllowed() {
		t.Errorf("explain: %v, %v", rsp, err)
	}
}
