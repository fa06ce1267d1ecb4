package auth

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	authpb "github.com/micro/platform/proto/auth"
)

func (p *platform) setMember(t *testing.T, namespace, role string, version int64) {
	t.Helper()
	_, err := p.components.SetMember(component(t), &authpb.SetMemberRequest{
		Namespace: namespace, Account: p.owner, Mailbox: p.owner, Role: role, Version: version,
	})
	if err != nil {
		t.Fatal(err)
	}
}

// One person has one password in several namespaces, and changes between them
// without it.
func TestPersonInTwoNamespaces(t *testing.T) {
	t.Parallel()
	p := setup(t)
	other := p.namespace + "-b"
	p.setMember(t, other, "viewer", 5)
	ctx := p.asOwner(t)
	rsp, err := p.people.Switch(ctx, &authpb.SwitchRequest{Namespace: other})
	if err != nil {
		t.Fatal(err)
	}
	there := claims(t, rsp.GetToken().GetAccessToken())
	if there.Issuer != other || !slices.Equal(there.Scopes, []string{"role:viewer"}) {
		t.Errorf("switched to %s with %v", there.Issuer, there.Scopes)
	}
	if got := claims(t, p.login(t, other, p.owner, p.password).GetAccessToken()); got.Issuer != other {
		t.Errorf("logged in to %s, want %s", got.Issuer, other)
	}
	if got := claims(t, p.login(t, "", p.owner, p.password).GetAccessToken()); got.Issuer != p.namespace {
		t.Errorf("logged in to %s, want the namespace that the person owns", got.Issuer)
	}
	if _, err := p.people.Switch(ctx, &authpb.SwitchRequest{Namespace: p.namespace + "-c"}); errors.Code(err) != codes.NotFound {
		t.Errorf("to another's namespace: %v, want NotFound", err)
	}
	viewer := bearer(t, rsp.GetToken().GetAccessToken())
	if _, err := p.accounts.List(viewer, &authpb.ListAccountsRequest{}); errors.Code(err) != codes.PermissionDenied {
		t.Errorf("a viewer lists accounts: %v, want PermissionDenied", err)
	}
	if _, err := p.auth.Generate(viewer, &authpb.GenerateRequest{Id: "x"}); errors.Code(err) != codes.PermissionDenied {
		t.Errorf("a viewer makes accounts: %v, want PermissionDenied", err)
	}

	// Another role: access tokens are refused, the login brings new ones.
	p.setMember(t, other, "developer", 6)
	eventually(t, "the token of the role before is refused", func() bool {
		_, err := p.auth.Inspect(t.Context(), &authpb.InspectRequest{Token: rsp.GetToken().GetAccessToken()})
		return err != nil
	})
	renewed, err := p.auth.Token(t.Context(), &authpb.TokenRequest{RefreshToken: rsp.GetToken().GetRefreshToken()})
	if err != nil || !slices.Equal(claims(t, renewed.GetToken().GetAccessToken()).Scopes, []string{"role:developer"}) {
		t.Errorf("renewed %v, %v", renewed, err)
	}
	// Removed: the login is over, and an older order does not bring it back.
	p.setMember(t, other, "", 8)
	p.setMember(t, other, "owner", 7)
	if _, err := p.auth.Token(t.Context(), &authpb.TokenRequest{RefreshToken: renewed.GetToken().GetRefreshToken()}); err == nil {
		t.Error("a member who was removed renews a token")
	}
	if _, err := p.people.Switch(p.asOwner(t), &authpb.SwitchRequest{Namespace: other}); errors.Code(err) != codes.NotFound {
		t.Errorf("to a namespace that was left: %v, want NotFound", err)
	}
}

func TestSecondFactor(t *testing.T) {
	t.Parallel()
	p := setup(t)
	ctx := p.asOwner(t)
	if _, err := p.factors.Enrol(ctx, &authpb.EnrolRequest{Password: "wrong"}); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("without the password: %v", err)
	}
	made, err := p.factors.Enrol(ctx, &authpb.EnrolRequest{Password: p.password})
	if err != nil {
		t.Fatal(err)
	}
	code := func(ago time.Duration) string {
		code, err := totp.GenerateCode(made.GetSecret(), time.Now().Add(-ago))
		if err != nil {
			t.Fatal(err)
		}
		return code
	}
	first := code(30 * time.Second) // the next step is left for the login
	confirmed, err := p.factors.Confirm(ctx, &authpb.ConfirmRequest{Code: first})
	if err != nil || len(confirmed.GetRecoveryCodes()) != recoveryCodes {
		t.Fatalf("Confirm = %v, %v", confirmed, err)
	}
	login := func(ctx context.Context, code string) error {
		_, err := p.auth.Token(ctx, &authpb.TokenRequest{Id: p.owner, Secret: p.password, Code: code})
		return err
	}
	if err := login(t.Context(), ""); errors.FromError(err) == nil || errors.FromError(err).Reason != identity.CodeRequired {
		t.Errorf("without a code: %v, want %s", err, identity.CodeRequired)
	}
	for name, tt := range map[string]struct {
		code string
		want codes.Code
	}{"used": {first, codes.InvalidArgument}, "wrong": {"12345x", codes.InvalidArgument}} {
		if err := login(t.Context(), tt.code); errors.Code(err) != tt.want {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	good := code(0)
	if err := login(t.Context(), good); err != nil {
		t.Errorf("a good code: %v", err)
	}
	if err := login(t.Context(), good); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("a code for the second time: %v, want InvalidArgument", err)
	}
	recovery := confirmed.GetRecoveryCodes()[3]
	if err := login(t.Context(), recovery); err != nil {
		t.Errorf("a recovery code: %v", err)
	}
	if err := login(t.Context(), recovery); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("a recovery code for the second time: %v, want InvalidArgument", err)
	}
	var last error
	for range 6 {
		last = login(t.Context(), "000000x")
	}
	if errors.Code(last) != codes.ResourceExhausted {
		t.Errorf("many wrong codes: %v, want ResourceExhausted", last)
	}
}

// A namespace that wants a second factor lets those without one do nothing but
// set it up.
func TestSecondFactorRequired(t *testing.T) {
	t.Parallel()
	p := setup(t)
	before := p.login(t, "", p.owner, p.password)
	if _, err := p.components.SetPolicy(component(t), &authpb.SetPolicyRequest{Namespace: p.namespace, RequireSecondFactor: true, Version: 1}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a token from before is refused", func() bool {
		_, err := p.auth.Inspect(t.Context(), &authpb.InspectRequest{Token: before.GetAccessToken()})
		return err != nil
	})
	ctx := p.asOwner(t)
	if _, err := p.accounts.List(ctx, &authpb.ListAccountsRequest{}); errors.FromError(err) == nil || errors.FromError(err).Reason != identity.FactorMissing {
		t.Errorf("without a second factor: %v, want %s", err, identity.FactorMissing)
	}
	made, err := p.factors.Enrol(ctx, &authpb.EnrolRequest{Password: p.password})
	if err != nil {
		t.Fatal(err)
	}
	code, err := totp.GenerateCode(made.GetSecret(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.factors.Confirm(ctx, &authpb.ConfirmRequest{Code: code}); err != nil {
		t.Fatal(err)
	}
	rsp, err := p.people.Switch(ctx, &authpb.SwitchRequest{Namespace: p.namespace})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.accounts.List(bearer(t, rsp.GetToken().GetAccessToken()), &authpb.ListAccountsRequest{}); err != nil {
		t.Errorf("with one: %v", err)
	}
}

// TestAdminsMakeNoOwners: an account with the scope admin may do what an owner
// may, so a member with the role admin makes none.
func TestAdminsMakeNoOwners(t *testing.T) {
	t.Parallel()
	p := setup(t)
	p.generate(t, &authpb.GenerateRequest{Id: "by-the-owner", Scopes: []string{"admin"}})
	other := p.namespace + "-theirs"
	p.setMember(t, other, "admin", 1)
	rsp, err := p.people.Switch(p.asOwner(t), &authpb.SwitchRequest{Namespace: other})
	if err != nil {
		t.Fatal(err)
	}
	ctx := bearer(t, rsp.GetToken().GetAccessToken())
	for _, scopes := range [][]string{{"admin"}, {"ci", "admin"}, {"ci,admin"}} {
		if _, err := p.auth.Generate(ctx, &authpb.GenerateRequest{Id: "by-an-admin", Scopes: scopes}); errors.Code(err) != codes.PermissionDenied {
			t.Errorf("an admin makes an account with scopes %q: %v, want PermissionDenied", scopes, err)
		}
	}
	if _, err := p.auth.Generate(ctx, &authpb.GenerateRequest{Id: "by-an-admin", Scopes: []string{"ci"}}); err != nil {
		t.Errorf("without that scope: %v", err)
	}
}
