package auth

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/grants"
	authpb "github.com/micro/platform/proto/auth"
)

// TestLimitedAccount shows that every token of an account with grants has them,
// however it was come by, that nothing is made with it that has more, and that
// explain says so.
func TestLimitedAccount(t *testing.T) {
	t.Parallel()
	p := setup(t)
	const limits = "store:*:read notes:Notes.List:write"
	secret := strings.Repeat("s", randomSecret)
	_, err := p.auth.Generate(component(t), &authpb.GenerateRequest{Id: "foo-r1", Secret: secret, Type: "service", Scopes: []string{"service"},
		Metadata: map[string]string{"grants": limits}, Options: namespace(p.namespace)})
	if err != nil {
		t.Fatal(err)
	}
	first := p.login(t, p.namespace, "foo-r1", secret)
	second, err := p.renew(t, first.GetRefreshToken())
	if err != nil {
		t.Fatal(err)
	}
	third, err := p.renew(t, second.GetAccessToken()) // as Micro's runtime had it
	if err != nil {
		t.Fatal(err)
	}
	for i, token := range []*authpb.Token{first, second, third} {
		c, err := p.verifier.Verify(t.Context(), token.GetAccessToken())
		if err != nil || strings.Join(grants.Texts(c.Grants), " ") != limits {
			t.Errorf("token %d has %v, %v", i+1, c.Grants, err)
		}
	}
	ctx := bearer(t, third.GetAccessToken())
	_, err = p.auth.Generate(ctx, &authpb.GenerateRequest{Id: "more", Type: "service", Scopes: []string{"service"}})
	_, err2 := p.tokens.Create(ctx, &authpb.CreateTokenRequest{Name: "more", Grants: []string{"*:*:write"}})
	_, err3 := p.accounts.ChangeSecret(ctx, &authpb.ChangeSecretRequest{Id: "foo-r1", OldSecret: secret, NewSecret: secret + "2"})
	for _, err := range []error{err, err2, err3} {
		if errors.Code(err) != codes.PermissionDenied {
			t.Errorf("credentials made by code with limits: %v", err)
		}
	}
	for _, tt := range []struct {
		service, endpoint string
		allowed           bool
	}{{"store", "Store.List", true}, {"store", "Store.Write", false}, {"notes", "Notes.List", true}, {"notes", "Notes.Delete", false}} {
		rsp, err := p.rules.Explain(p.asOwner(t), &authpb.ExplainRequest{Account: "foo-r1", Service: tt.service, Endpoint: tt.endpoint})
		if err != nil || rsp.GetAllowed() != tt.allowed || len(rsp.GetChecks()) < 2 || rsp.GetChecks()[1].GetName() != "deployer" ||
			!strings.Contains(rsp.GetChecks()[1].GetDetail(), "store:*:read, notes:Notes.List:write") {
			t.Errorf("explain %s %s: %v, %v", tt.service, tt.endpoint, rsp, err)
		}
	}
	for name, req := range map[string]*authpb.GenerateRequest{
		"no grant":         {Id: "x", Type: "service", Metadata: map[string]string{"grants": " "}},
		"what is none":     {Id: "x", Type: "service", Metadata: map[string]string{"grants": "store:*:all"}},
		"a person's":       {Id: "x", Metadata: map[string]string{"grants": limits}},
		"an empty service": {Id: "x", Type: "service", Metadata: map[string]string{"grants": ":*:read"}},
	} {
		if _, err := p.auth.Generate(p.asOwner(t), req); errors.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "grants") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
