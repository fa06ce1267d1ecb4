package auth

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/rpc"
	authpb "github.com/micro/platform/proto/auth"
)

func TestLogin(t *testing.T) {
	t.Parallel()
	p := setup(t)
	named := p.generate(t, &authpb.GenerateRequest{Id: "bob", Name: "Robert", Secret: "password of bob"})
	if named.GetSecret() != "password of bob" {
		t.Errorf("Generate = %v, want the secret", named)
	}
	for _, tt := range []struct {
		name, namespace, id, secret string
		want                        string // namespace of the token, "" is refused
	}{
		{"namespace not given", "", p.owner, p.password, p.namespace},
		{"namespace micro", "micro", p.owner, p.password, p.namespace},
		{"own namespace", p.namespace, p.owner, p.password, p.namespace},
		{"other case of the address", "micro", strings.ToUpper(p.owner[:1]) + p.owner[1:], p.password, p.namespace},
		{"by name", p.namespace, "Robert", "password of bob", p.namespace},
		{"operator", "micro", "admin", adminPassword, "micro"},
		{"wrong secret", "", p.owner, p.password + "x", ""},
		{"another's namespace", "another", p.owner, p.password, ""},
		{"unknown", "", "nobody@example.com", p.password, ""},
		{"long secret", "", p.owner, strings.Repeat("x", maxSecret+1), ""},
		{"long id", "", strings.Repeat("x", maxID+1), p.password, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rsp, err := p.auth.Token(t.Context(), &authpb.TokenRequest{Id: tt.id, Secret: tt.secret, Options: &authpb.Options{Namespace: tt.namespace}})
			if tt.want == "" {
				e := errors.FromError(err)
				if e == nil || e.HTTP != 400 || e.Detail != errWrongSecret().Error() || e.ID != "auth.Auth.Token" {
					t.Fatalf("Token = %v, want the one answer to all bad logins", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := claims(t, rsp.GetToken().GetAccessToken()).Issuer; got != tt.want {
				t.Errorf("issuer %q, want %q", got, tt.want)
			}
			if rsp.GetToken().GetRefreshToken() == "" {
				t.Error("no refresh token: old command lines take that for logged out")
			}
		})
	}
}

// TestSameIDInSeveralNamespaces shows whose id logs in without a namespace: the
// owner's, whatever others have made.
func TestSameIDInSeveralNamespaces(t *testing.T) {
	t.Parallel()
	p := setup(t)
	q := *p
	q.namespace, q.owner = p.namespace+"-b", "b-"+p.owner
	q.createOwner(t)
	q.generate(t, &authpb.GenerateRequest{Id: p.owner, Secret: "of the squatter"})
	p.generate(t, &authpb.GenerateRequest{Id: "carol", Secret: "carol of the one"})
	if got := claims(t, p.login(t, "", "carol", "carol of the one").GetAccessToken()).Issuer; got != p.namespace {
		t.Errorf("the only carol is of %q, want %q", got, p.namespace)
	}
	q.generate(t, &authpb.GenerateRequest{Id: "carol", Secret: "carol of the other"})
	if got := claims(t, p.login(t, "", p.owner, p.password).GetAccessToken()).Issuer; got != p.namespace {
		t.Errorf("owner logs in to %q, want %q", got, p.namespace)
	}
	for _, secret := range []string{"carol of the one", "carol of the other"} {
		if _, err := p.auth.Token(t.Context(), &authpb.TokenRequest{Id: "carol", Secret: secret}); errors.Code(err) != codes.InvalidArgument {
			t.Errorf("Token = %v, want that two carols must name their namespace", err)
		}
	}
	p.login(t, q.namespace, "carol", "carol of the other")
}

func TestTokenLife(t *testing.T) {
	t.Parallel()
	p := setup(t)
	p.generate(t, &authpb.GenerateRequest{Id: "svc", Type: "service", Scopes: []string{"service"}, Secret: "secret of svc"})
	const year = 8760 * time.Hour
	for _, tt := range []struct {
		id, secret string
		asked      int64
		want       time.Duration
	}{
		{p.owner, p.password, 0, 15 * time.Minute},
		{p.owner, p.password, 60, time.Minute},
		{p.owner, p.password, 600, 10 * time.Minute},
		{p.owner, p.password, 1, time.Minute},
		{p.owner, p.password, 86400, 15 * time.Minute},
		{p.owner, p.password, -5, 15 * time.Minute},
		{p.owner, p.password, 1 << 62, 15 * time.Minute},
		{"svc", "secret of svc", 600, year},
		{"svc", "secret of svc", 0, year},
	} {
		t.Run(fmt.Sprint(tt.id, tt.asked), func(t *testing.T) {
			t.Parallel()
			rsp, err := p.auth.Token(t.Context(), &authpb.TokenRequest{Id: tt.id, Secret: tt.secret, TokenExpiry: tt.asked, Options: &authpb.Options{Namespace: p.namespace}})
			if err != nil {
				t.Fatal(err)
			}
			c, token := claims(t, rsp.GetToken().GetAccessToken()), rsp.GetToken()
			if got := time.Duration(token.GetExpiry()-token.GetCreated()) * time.Second; got != tt.want {
				t.Errorf("life %v, want %v", got, tt.want)
			}
			if c.ExpiresAt.Unix() != token.GetExpiry() || c.IssuedAt.Unix() != token.GetCreated() || c.ID == "" {
				t.Errorf("claims %+v differ from the answer %v", c, token)
			}
		})
	}
}

func TestInspect(t *testing.T) {
	t.Parallel()
	p := setup(t)
	p.generate(t, &authpb.GenerateRequest{Id: "bob", Name: "Robert", Secret: "password of bob", Scopes: []string{"editor"}, Metadata: map[string]string{"team": "a"}})
	token := p.login(t, p.namespace, "bob", "password of bob").GetAccessToken()
	rsp, err := p.auth.Inspect(t.Context(), &authpb.InspectRequest{Token: token, Options: &authpb.Options{Namespace: "ignored"}})
	if err != nil {
		t.Fatal(err)
	}
	a := rsp.GetAccount()
	if a.GetId() != "bob" || a.GetName() != "Robert" || a.GetType() != "user" || a.GetIssuer() != p.namespace || a.GetSecret() != "" ||
		len(a.GetScopes()) != 1 || a.GetMetadata()["team"] != "a" || a.GetMetadata()["created"] == "" {
		t.Errorf("Inspect = %v", a)
	}
	for _, bad := range []string{"", "x", "a.b.c", token + "x", token[:len(token)-10], strings.Repeat("x", 1<<20)} {
		_, err := p.auth.Inspect(t.Context(), &authpb.InspectRequest{Token: bad})
		if e := errors.FromError(err); e == nil || e.Detail != "invalid token provided" || e.HTTP != 400 || e.ID != "auth.Auth.Inspect" {
			t.Errorf("Inspect(%.20q) = %v", bad, err)
		}
	}
}

func TestTokenWithoutCredentials(t *testing.T) {
	t.Parallel()
	p := setup(t)
	for _, req := range []*authpb.TokenRequest{{}, {Id: "admin"}, {Secret: "micro"}} {
		_, err := p.auth.Token(t.Context(), req)
		if e := errors.FromError(err); e == nil || e.Detail != "Credentials or a refresh token required" {
			t.Errorf("Token(%v) = %v", req, err)
		}
	}
}

func (p *platform) renew(t testing.TB, refresh string) (*authpb.Token, error) {
	t.Helper()
	rsp, err := p.auth.Token(t.Context(), &authpb.TokenRequest{RefreshToken: refresh, TokenExpiry: 600, Options: &authpb.Options{Namespace: "micro"}})
	return rsp.GetToken(), err
}

func wantInvalid(t testing.TB, what string, err error) {
	t.Helper()
	if e := errors.FromError(err); e == nil || e.Detail != "invalid token provided" || e.HTTP != 400 {
		t.Errorf("%s: %v, want invalid token provided", what, err)
	}
}

func TestRefreshRotates(t *testing.T) {
	t.Parallel()
	p := setup(t)
	refresh := p.login(t, "", p.owner, p.password).GetRefreshToken()
	for range 3 {
		token, err := p.renew(t, refresh)
		if err != nil {
			t.Fatal(err)
		}
		if token.GetRefreshToken() == refresh || claims(t, token.GetAccessToken()).Subject != p.owner {
			t.Errorf("renewed to %v", token)
		}
		refresh = token.GetRefreshToken()
	}
	for _, bad := range []string{"x", "mrt_", refresh[:len(refresh)-1], refresh + "x", "mrt_" + strings.Repeat("A", len(refresh)-4)} {
		_, err := p.renew(t, bad)
		wantInvalid(t, bad, err)
	}
}

// TestRefreshOverlap shows that many processes of one client may use the same
// token at once: all get the same successor, and the login goes on.
func TestRefreshOverlap(t *testing.T) {
	t.Parallel()
	p := setup(t)
	refresh := p.login(t, "", p.owner, p.password).GetRefreshToken()
	var wg sync.WaitGroup
	got := make([]string, 100)
	for i := range got {
		wg.Go(func() {
			token, err := p.renew(t, refresh)
			if err != nil {
				t.Error(err)
			}
			got[i] = token.GetRefreshToken()
		})
	}
	wg.Wait()
	for _, g := range got {
		if g != got[0] {
			t.Fatal("two successors of one token")
		}
	}
	if _, err := p.renew(t, got[0]); err != nil {
		t.Errorf("the successor does not work: %v", err)
	}
}

// TestRefreshReuseEndsSession shows that a token that comes back late ends what
// descends from it, and only that login.
func TestRefreshReuseEndsSession(t *testing.T) {
	t.Parallel()
	p := setup(t)
	other := p.login(t, "", p.owner, p.password).GetRefreshToken()
	first := p.login(t, "", p.owner, p.password).GetRefreshToken()
	second, err := p.renew(t, first)
	if err != nil {
		t.Fatal(err)
	}
	p.exec(t, `UPDATE auth.sessions SET rotated_at = now() - interval '11 seconds' WHERE generation = 1`)
	_, err = p.renew(t, first)
	wantInvalid(t, "used again", err)
	_, err = p.renew(t, second.GetRefreshToken())
	wantInvalid(t, "successor of a token that was used again", err)
	if _, err := p.renew(t, other); err != nil {
		t.Errorf("another login has ended too: %v", err)
	}
}

func TestSessionEnds(t *testing.T) {
	t.Parallel()
	p := setup(t)
	refresh := p.login(t, "", p.owner, p.password).GetRefreshToken()
	var days float64
	if err := p.db.QueryRow(t.Context(), `SELECT extract(epoch FROM expires_at - created_at) / 86400 FROM auth.sessions`).Scan(&days); err != nil || days != 30 {
		t.Errorf("a login lasts %v days (%v), want 30", days, err)
	}
	p.exec(t, `UPDATE auth.sessions SET expires_at = now()`)
	_, err := p.renew(t, refresh)
	wantInvalid(t, "after its life", err)
	if err := (db{p.db}).prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := p.db.QueryRow(t.Context(), `SELECT count(*) FROM auth.sessions`).Scan(&n); err != nil || n != 0 {
		t.Errorf("%d sessions after prune (%v), want 0", n, err)
	}
}

func TestSessionsAreBounded(t *testing.T) {
	t.Parallel()
	p := setup(t)
	secret := p.generate(t, &authpb.GenerateRequest{Id: "svc", Type: "service"}).GetSecret()
	for range maxSessions + 5 {
		p.login(t, p.namespace, "svc", secret)
	}
	var n int
	if err := p.db.QueryRow(t.Context(), `SELECT count(*) FROM auth.sessions WHERE account = 'svc'`).Scan(&n); err != nil || n != maxSessions {
		t.Errorf("%d sessions (%v), want %d", n, err, maxSessions)
	}
}

// TestOperatorFromContainer shows that a tenant's container cannot log in as an
// operator by password, and cannot tell why.
func TestOperatorFromContainer(t *testing.T) {
	t.Parallel()
	p := setup(t)
	ctx := from(t, rpc.Origin{Address: "10.9.8.7", Containers: true})
	_, err := p.auth.Token(ctx, &authpb.TokenRequest{Id: "admin", Secret: adminPassword})
	if e := errors.FromError(err); e == nil || e.Detail != errWrongSecret().Error() {
		t.Errorf("Token = %v, want the answer to a wrong secret", err)
	}
	if _, err := p.auth.Token(ctx, &authpb.TokenRequest{Id: p.owner, Secret: p.password}); err != nil {
		t.Errorf("others may: %v", err)
	}
	p.login(t, "micro", "admin", adminPassword)
}

// TestGuessing shows that who fails often with an account waits, that the answer
// is the same for one that does not exist, and that its owner gets in from
// elsewhere, known or not.
func TestGuessing(t *testing.T) {
	t.Parallel()
	p := setup(t)
	home := from(t, rpc.Origin{Address: fmt.Sprintf("2001:db8:%x:%x::1", time.Now().UnixNano()>>16&0xffff, time.Now().UnixNano()&0xffff)})
	req := &authpb.TokenRequest{Id: p.owner, Secret: p.password}
	for _, id := range []string{p.owner, "nobody-" + p.owner} {
		for i := range freeFailures + 1 {
			_, err := p.auth.Token(t.Context(), &authpb.TokenRequest{Id: id, Secret: "wrong"})
			want := codes.InvalidArgument
			if i >= freeFailures {
				want = codes.ResourceExhausted
			}
			if errors.Code(err) != want {
				t.Fatalf("%s, failure %d: %v, want %v", id, i+1, err, want)
			}
		}
	}
	if _, err := p.auth.Token(home, req); err != nil {
		t.Errorf("from another address: %v", err)
	}
	eventually(t, "the right password after the wait", func() bool {
		_, err := p.auth.Token(t.Context(), req)
		return err == nil
	})
}

// TestGuessingFromOneAddress shows that an address that fails with many ids
// waits, and that services that start there do not.
func TestGuessingFromOneAddress(t *testing.T) {
	t.Parallel()
	p := setup(t)
	secret := p.generate(t, &authpb.GenerateRequest{Id: "svc", Type: "service"}).GetSecret()
	address := fmt.Sprintf("2001:db8:%x:%x", time.Now().UnixNano()>>16&0xffff, time.Now().UnixNano()&0xffff)
	at := from(t, rpc.Origin{Address: address + "::1"})
	if _, err := p.auth.Token(at, &authpb.TokenRequest{Id: p.owner, Secret: p.password}); err != nil {
		t.Fatal(err)
	}
	for i := range addressFailures {
		// Another address of the same network each time.
		ctx := from(t, rpc.Origin{Address: fmt.Sprintf("%s::%x", address, i+1)})
		if _, err := p.auth.Token(ctx, &authpb.TokenRequest{Id: fmt.Sprint(p.namespace, i), Secret: "wrong"}); errors.Code(err) != codes.InvalidArgument {
			t.Fatalf("failure %d: %v", i+1, err)
		}
	}
	ctx := from(t, rpc.Origin{Address: address + "::1"})
	if _, err := p.auth.Token(ctx, &authpb.TokenRequest{Id: "admin", Secret: adminPassword}); errors.Code(err) != codes.ResourceExhausted {
		t.Errorf("Token = %v, want ResourceExhausted", err)
	}
	if _, err := p.auth.Token(ctx, &authpb.TokenRequest{Id: p.owner, Secret: p.password}); err != nil {
		t.Errorf("where the account has logged in before: %v", err)
	}
	if _, err := p.auth.Token(ctx, &authpb.TokenRequest{Id: "svc", Secret: secret, Options: &authpb.Options{Namespace: p.namespace}}); err != nil {
		t.Errorf("a service with the right secret: %v", err)
	}
}

// TestVerified shows that the platform's verifier takes what auth issues, and
// what it says of the caller.
func TestVerified(t *testing.T) {
	t.Parallel()
	p := setup(t)
	c, err := p.verifier.Verify(t.Context(), p.login(t, "", p.owner, p.password).GetAccessToken())
	if err != nil {
		t.Fatal(err)
	}
	if c.ID != p.owner || c.Namespace != p.namespace || c.Type != identity.User || !c.Admin() || c.Operator() || c.KeyID == "" || c.Epoch == 0 {
		t.Errorf("Verify = %+v", c)
	}
}

func (p *platform) exec(t testing.TB, q string) {
	t.Helper()
	if _, err := p.db.Exec(t.Context(), q); err != nil {
		t.Fatal(err)
	}
}
