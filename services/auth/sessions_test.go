package auth

import (
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	authpb "github.com/micro/platform/proto/auth"
)

func (p *platform) refused(t testing.TB, token string) bool {
	_, err := p.auth.Inspect(t.Context(), &authpb.InspectRequest{Token: token})
	return errors.Code(err) == codes.InvalidArgument
}

func TestLogoutEndsTheLogin(t *testing.T) {
	t.Parallel()
	p := setup(t)
	mine, other := p.login(t, "", p.owner, p.password), p.login(t, "", p.owner, p.password)
	for range 2 { // a second time changes nothing
		if _, err := p.auth.Logout(t.Context(), &authpb.LogoutRequest{RefreshToken: mine.GetRefreshToken()}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.auth.Token(t.Context(), &authpb.TokenRequest{RefreshToken: mine.GetRefreshToken()}); errors.FromError(err).Detail != "invalid token provided" {
		t.Errorf("renewed after logging out: %v", err)
	}
	eventually(t, "the access token is refused", func() bool { return p.refused(t, mine.GetAccessToken()) })
	if p.refused(t, other.GetAccessToken()) {
		t.Error("another login ended, too")
	}
	for _, bad := range []string{"", "mrt_", mine.GetAccessToken()} {
		if _, err := p.auth.Logout(t.Context(), &authpb.LogoutRequest{RefreshToken: bad}); errors.Code(err) != codes.InvalidArgument {
			t.Errorf("Logout(%.10q) = %v", bad, err)
		}
	}
}

func TestSessions(t *testing.T) {
	t.Parallel()
	p := setup(t)
	first, second, third := p.login(t, "", p.owner, p.password), p.login(t, "", p.owner, p.password), p.login(t, "", p.owner, p.password)
	ctx := bearer(t, first.GetAccessToken())
	list, err := p.sessions.List(ctx, &authpb.ListSessionsRequest{})
	if err != nil || len(list.GetSessions()) != 3 {
		t.Fatalf("List = %v, %v", list, err)
	}
	current, last := "", list.GetSessions()[0].GetId()
	for _, s := range list.GetSessions() {
		if s.GetCurrent() {
			current = s.GetId()
		}
	}
	if current != claims(t, first.GetAccessToken()).Session || current == "" {
		t.Errorf("current is %q", current)
	}
	stranger := p.otherOwner(t)
	if _, err := p.sessions.Revoke(stranger, &authpb.RevokeSessionRequest{Id: last}); errors.Code(err) != codes.NotFound {
		t.Errorf("a stranger's Revoke = %v", err)
	}
	if _, err := p.sessions.Revoke(ctx, &authpb.RevokeSessionRequest{Id: last}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the revoked login is refused", func() bool { return p.refused(t, third.GetAccessToken()) })
	if _, err := p.sessions.Revoke(ctx, &authpb.RevokeSessionRequest{Others: true}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other login is refused", func() bool { return p.refused(t, second.GetAccessToken()) })
	if p.refused(t, first.GetAccessToken()) {
		t.Error("the login that asked ended, too")
	}
	for _, req := range []*authpb.RevokeSessionRequest{{}, {Id: current, Others: true}} {
		if _, err := p.sessions.Revoke(ctx, req); errors.Code(err) != codes.InvalidArgument {
			t.Errorf("Revoke(%v) = %v", req, err)
		}
	}
	for _, id := range []string{last, "xyz", "00"} {
		if _, err := p.sessions.Revoke(ctx, &authpb.RevokeSessionRequest{Id: id}); errors.Code(err) != codes.NotFound {
			t.Errorf("Revoke(%q) = %v", id, err)
		}
	}
}
