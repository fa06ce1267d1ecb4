package proxy_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/grants"
	"github.com/micro/platform/internal/identity"
	authpb "github.com/micro/platform/proto/auth"
	"github.com/micro/platform/proxy/edge/edgetest"
)

// program is what an API token of jane's stands for.
func program(session string, limits ...string) identity.Caller {
	list, err := grants.ParseAll(limits)
	if err != nil {
		panic(err)
	}
	return identity.Caller{ID: "jane@acme", Namespace: "acme", Type: identity.User, Scopes: []string{"admin"}, Session: session, Grants: list}
}

// TestAPIToken shows that an API token reaches what it grants, that the service
// gets an access token in its place, and that many calls make one exchange.
func TestAPIToken(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.Register("acme", edgetest.NewService(t, "echo").Entry())
	secret := e.APIToken(program("one", "echo:Echo.Call:write", "auth:*:read"))
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			a, err := e.call("/echo.Echo/Call", "{}", bearer(secret)...)
			if err != nil || strings.Contains(a.Metadata["authorization"], "mtk_") || strings.Count(a.Metadata["authorization"], ".") != 2 {
				t.Errorf("the service saw %q, %v", a.Metadata["authorization"], err)
			}
		})
	}
	wg.Wait()
	if n := e.Exchanges(); n != 1 {
		t.Errorf("%d exchanges for 50 calls, want 1", n)
	}
	for _, tt := range []struct {
		name, method, token string
		code                codes.Code
		reason, detail      string
	}{
		{"another endpoint", "/echo.Echo/Fail", secret, codes.PermissionDenied, identity.TokenScope, `the API token grants echo:Echo.Call:write, auth:*:read only; make one with "micro auth token create NAME --grant echo:Echo.Fail:write"`},
		{"another service", "/notes.Notes/List", secret, codes.PermissionDenied, identity.TokenScope, "--grant notes:Notes.List:read"},
		{"the platform, writing", "/auth.Auth/Generate", secret, codes.PermissionDenied, identity.TokenScope, "auth:Auth.Generate:write"},
		{"another namespace", "/echo.Echo/Call", secret, codes.PermissionDenied, identity.WrongNamespace, `no access to namespace "other"`},
		{"unknown", "/echo.Echo/Call", "mtk_nobody", codes.Unauthenticated, identity.TokenInvalid, "the API token is unknown or was revoked"},
		{"huge", "/echo.Echo/Call", "mtk_" + strings.Repeat("a", 8000), codes.Unauthenticated, identity.TokenInvalid, "token invalid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			namespace := "acme"
			if tt.reason == identity.WrongNamespace {
				namespace = "other"
			}
			reason, err := e.refused(tt.method, append(bearer(tt.token), "micro-namespace", namespace)...)
			if errors.Code(err) != tt.code || reason != tt.reason || !strings.Contains(errors.FromError(err).Detail, tt.detail) {
				t.Errorf("%s = %v (%s), want %s, %s and %q", tt.method, err, reason, tt.code, tt.reason, tt.detail)
			}
		})
	}
	before := e.Exchanges()
	for range 20 {
		e.refused("/echo.Echo/Call", bearer("mtk_guess")...) //nolint:errcheck // counted below
	}
	if n := e.Exchanges() - before; n > 3 {
		t.Errorf("a bad token made %d exchanges", n)
	}
}

// TestLimitedService shows that code which was deployed with an API token has no
// more than that, and hears how to give it more.
func TestLimitedService(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.Register("acme", edgetest.NewService(t, "echo").Entry())
	c := program("login", "echo:Echo.Call:write", "registry:Registry.Register:write")
	c.ID, c.Type, c.Scopes = "foo-r1", identity.Service, []string{"service"}
	token := e.Token(t, c)
	e.until(codes.OK, "/echo.Echo/Call", bearer(token)...)
	for _, method := range []string{"/echo.Echo/Fail", "/runtime.Runtime/Create", "/auth.Auth/Generate", "/store.Store/Read"} {
		reason, err := e.refused(method, bearer(token)...)
		if reason != identity.TokenScope || !strings.Contains(errors.FromError(err).Detail, "foo-r1: it was deployed with an API token that grants echo:Echo.Call:write, registry:Registry.Register:write only; deploy it with one that has --grant ") {
			t.Errorf("%s: %v (%s)", method, err, reason)
		}
	}
}

// refused makes a call and answers its error and the reason beside it.
func (e *edge) refused(method string, pairs ...string) (reason string, err error) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(e.t.Context(), pairs...), settle)
	defer cancel()
	var out []byte
	in, trailer := []byte("{}"), metadata.MD{}
	err = e.conn.Invoke(ctx, method, &in, &out, edgetest.Codec(), grpc.Trailer(&trailer))
	return strings.Join(trailer.Get("micro-reason"), "|"), err
}

// TestRevokedStream shows that streams end with the token they came with.
func TestRevokedStream(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.Register("acme", edgetest.NewService(t, "echo").Entry())
	secret := e.APIToken(program("one", "*:*:write"))
	user, other := e.User(t, "acme"), e.Token(t, identity.Caller{ID: "bob", Namespace: "acme", Type: identity.User})
	e.until(codes.OK, "/echo.Echo/Call", bearer(user)...)
	ofToken, ofPerson, ofOther := e.chat(bearer(secret)...), e.chat(bearer(user)...), e.chat(bearer(other)...)
	ended := func(name string, s grpc.ClientStream, revoked time.Time) {
		t.Helper()
		var got []byte
		err := s.RecvMsg(&got)
		if took := time.Since(revoked); errors.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), "token revoked") || took > time.Second {
			t.Errorf("%s ended after %s with %v", name, took, err)
		}
	}
	now := time.Now()
	e.RevokeAPIToken(secret)
	ended("the API token's", ofToken, now)
	now = time.Now()
	e.Change(&authpb.Change{Revocation: &authpb.Revocation{Namespace: "acme", Account: "jane@acme", Epoch: 7, Expires: now.Add(time.Hour).Unix()}})
	ended("the account's", ofPerson, now)
	e.goesOn("another account's stream", ofOther)
}

// chat opens a stream that answers what it is sent.
func (e *edge) chat(pairs ...string) grpc.ClientStream {
	e.t.Helper()
	s, err := e.conn.NewStream(metadata.AppendToOutgoingContext(e.t.Context(), pairs...),
		&grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/echo.Echo/Chat", edgetest.Codec())
	if err != nil {
		e.t.Fatal(err)
	}
	e.goesOn("a new stream", s)
	return s
}

func (e *edge) goesOn(name string, s grpc.ClientStream) {
	e.t.Helper()
	var got []byte
	if err := s.SendMsg([]byte("hello")); err != nil {
		e.t.Fatal(err)
	}
	if err := s.RecvMsg(&got); err != nil || string(got) != "hello" {
		e.t.Fatalf("%s: %q, %v", name, got, err)
	}
}

// ends waits for the end of a stream.
func (e *edge) ends(name string, s grpc.ClientStream, want codes.Code, text string) {
	e.t.Helper()
	ended := make(chan error, 1)
	go func() {
		var got []byte
		ended <- s.RecvMsg(&got)
	}()
	select {
	case err := <-ended:
		if errors.Code(err) != want || !strings.Contains(err.Error(), text) {
			e.t.Errorf("%s ended with %v", name, err)
		}
	case <-time.After(settle):
		e.t.Errorf("%s goes on", name)
	}
}

// TestWithdrawnRule shows that a stream ends with the rule that let it in, and
// that those of others go on.
func TestWithdrawnRule(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.Register("acme", edgetest.NewService(t, "echo").Entry())
	e.Public("acme")
	anonymous := []string{"micro-namespace", "acme"}
	e.until(codes.OK, "/echo.Echo/Call", anonymous...)
	ofAnonymous, ofMember := e.chat(anonymous...), e.chat(bearer(e.User(t, "acme"))...)
	e.Change(&authpb.Change{Rules: &authpb.RuleSet{Namespace: "other"}})
	e.Change(&authpb.Change{Rules: &authpb.RuleSet{Namespace: "acme"}})
	e.ends("the stream of nobody", ofAnonymous, codes.Unauthenticated, "token missing")
	e.goesOn("a member's stream", ofMember)
	denied := []*authpb.Rule{{Id: "no", Access: authpb.Access_DENIED, Resource: &authpb.Resource{Type: "*", Name: "*", Endpoint: "*"}}}
	e.Change(&authpb.Change{Rules: &authpb.RuleSet{Namespace: "acme", Rules: denied}})
	e.ends("the member's stream", ofMember, codes.PermissionDenied, "no")
}

// TestStreamEndsWithAPIToken shows that a stream ends when the API token does that
// it came with, and goes on when only what stands for that has ended.
func TestStreamEndsWithAPIToken(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.Register("acme", edgetest.NewService(t, "echo").Entry())
	short := program("one", "*:*:write")
	short.Expires = time.Now().Add(3 * time.Second)
	secret := e.APIToken(short)
	e.until(codes.OK, "/echo.Echo/Call", bearer(secret)...)
	s := e.chat(bearer(secret)...)
	e.ends("the stream", s, codes.Unauthenticated, "")
	if time.Now().Before(short.Expires.Truncate(time.Second)) {
		t.Error("it ended early")
	}
}

// TestForgedTokens shows that no forged token makes anybody a caller, at once
// and in the same words, and that the caller is not refused for it where
// everybody may call.
func TestForgedTokens(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.Register("acme", edgetest.NewService(t, "echo").Entry())
	good := e.User(t, "acme")
	e.until(codes.OK, "/echo.Echo/Call", bearer(good)...)
	parts := strings.Split(good, ".")
	sign := func(method jwt.SigningMethod, key any, kid string) string {
		t.Helper()
		token := jwt.NewWithClaims(method, identity.Claims{RegisteredClaims: jwt.RegisteredClaims{
			Subject: "jane@acme", Issuer: "acme", ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour))}, Type: "user", Scopes: []string{"admin"}})
		token.Header["kid"] = kid
		text, err := token.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	theirs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"alg none":              sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "test"),
		"HS256, the public key": sign(jwt.SigningMethodHS256, e.PublicKey(t), "test"),
		"unknown kid":           sign(jwt.SigningMethodRS256, theirs, "other"),
		"kid is a path":         sign(jwt.SigningMethodRS256, theirs, "../../etc/passwd"),
		"another server's key":  sign(jwt.SigningMethodRS256, theirs, "test"),
		"cut":                   good[:len(good)-10],
		"no signature":          parts[0] + "." + parts[1] + ".",
		"another body":          parts[0] + "." + strings.Split(e.User(t, "other"), ".")[1] + "." + parts[2],
		"8 KiB":                 strings.Repeat("a", 8<<10),
		"empty parts":           "..",
	} {
		began := time.Now()
		reason, err := e.refused("/echo.Echo/Call", append(bearer(token), "micro-namespace", "acme")...)
		if detail := errors.FromError(err).Detail; errors.Code(err) != codes.Unauthenticated || reason != identity.TokenInvalid ||
			!strings.Contains(detail, "token invalid, log in again") || time.Since(began) > 5*time.Second {
			t.Errorf("%s: %v (%s) after %s", name, err, reason, time.Since(began))
		}
	}
	if _, err := e.refused("/echo.Echo/Call", bearer(strings.Repeat("a", 1<<20))...); err == nil {
		t.Error("1 MiB: let in")
	}
	old := e.Token(t, identity.Caller{ID: "jane@acme", Namespace: "acme", Type: identity.User, Expires: time.Now().Add(-identity.Leeway)})
	reason, err := e.refused("/echo.Echo/Call", append(bearer(old), "micro-namespace", "acme")...)
	if reason != identity.TokenExpired || !strings.Contains(errors.FromError(err).Detail, "token expired at ") {
		t.Errorf("expired by a second: %v (%s)", err, reason)
	}
	e.Public("acme")
	e.until(codes.OK, "/echo.Echo/Call", append(bearer(old), "micro-namespace", "acme")...)
}

// TestRevocationUnderLoad shows that a revoked token is refused at two edges
// within a second while they are busy.
func TestRevocationUnderLoad(t *testing.T) {
	t.Parallel()
	p := edgetest.New(t)
	p.Register("acme", edgetest.NewService(t, "echo").Entry())
	secret, load := p.APIToken(program("one", "*:*:write")), p.Token(t, identity.Caller{ID: "bob", Namespace: "acme", Type: identity.User})
	edges := [2]*edge{startOn(t, p), startOn(t, p)} // as in two processes
	for _, e := range edges {
		e.until(codes.OK, "/echo.Echo/Call", bearer(secret)...)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	began, calls := time.Now(), make([]int, 8)
	for i := range calls {
		wg.Go(func() {
			tick := time.NewTicker(8 * time.Millisecond) // 1000 calls a second, all together
			defer tick.Stop()
			for ctx.Err() == nil {
				if _, err := edges[i%2].call("/echo.Echo/Call", "{}", bearer(load)...); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
				calls[i]++
				<-tick.C
			}
		})
	}
	for time.Since(began) < 300*time.Millisecond { // until it is busy
		edges[0].call("/echo.Echo/Call", "{}", bearer(load)...) //nolint:errcheck // load
	}
	revoked := time.Now()
	p.RevokeAPIToken(secret)
	for i, e := range edges {
		e.until(codes.Unauthenticated, "/echo.Echo/Call", bearer(secret)...)
		took := time.Since(revoked)
		if t.Logf("edge %d refuses after %s", i, took); took > time.Second {
			t.Errorf("edge %d refused the token after %s, want a second", i, took)
		}
	}
	stop()
	wg.Wait()
	total := 0
	for _, n := range calls {
		total += n
	}
	t.Logf("%.0f calls a second", float64(total)/time.Since(began).Seconds())
}

// TestWatchCutUnderLoad shows that no good token is refused because the pushes
// of auth, registry and namespaces break off and begin again.
func TestWatchCutUnderLoad(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.Register("acme", edgetest.NewService(t, "echo").Entry())
	user := bearer(e.User(t, "acme"))
	e.until(codes.OK, "/echo.Echo/Call", user...)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				// Each token is new, so none is remembered as good.
				token := e.Token(t, identity.Caller{ID: "jane", Namespace: "acme", Type: identity.User, Session: rand.Text()})
				if _, err := e.call("/echo.Echo/Call", "{}", bearer(token)...); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 100 {
		<-tick.C
		e.Drop()
	}
	stop()
	wg.Wait()
}
