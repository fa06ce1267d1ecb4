package auth

import (
	"log/slog"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/pgtest"
	"github.com/micro/platform/internal/seal"
	authpb "github.com/micro/platform/proto/auth"
)

func (p *platform) listKeys(t testing.TB) []*authpb.Key {
	t.Helper()
	rsp, err := p.keys.List(t.Context(), &authpb.ListKeysRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return rsp.GetKeys()
}

// signingKey answers the id of the key that new tokens are signed with.
func (p *platform) signingKey(t testing.TB) string {
	t.Helper()
	token, _, err := jwt.NewParser().ParseUnverified(p.login(t, "", p.owner, p.password).GetAccessToken(), jwt.MapClaims{})
	if err != nil {
		t.Fatal(err)
	}
	return token.Header["kid"].(string)
}

func TestRotation(t *testing.T) {
	t.Parallel()
	p := setup(t)
	service := p.generate(t, &authpb.GenerateRequest{Id: "svc", Type: "service", Scopes: []string{"service"}})
	token := p.login(t, p.namespace, "svc", service.GetSecret())
	first := p.signingKey(t)

	next, err := p.keys.Rotate(p.asOperator(t), &authpb.RotateKeyRequest{})
	if err != nil {
		t.Fatal(err)
	}
	again, err := p.keys.Rotate(p.asOperator(t), &authpb.RotateKeyRequest{})
	if err != nil || again.GetKey().GetId() != next.GetKey().GetId() {
		t.Errorf("there are two next keys: %v, %v", again, err)
	}
	if len(p.listKeys(t)) != 2 {
		t.Errorf("published are %v", p.listKeys(t))
	}
	if got := p.signingKey(t); got != first {
		t.Errorf("key %s signs before it was published for a while", got)
	}
	if _, err := p.keys.Rotate(p.asOperator(t), &authpb.RotateKeyRequest{Now: true}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the next key signs", func() bool { return p.signingKey(t) == next.GetKey().GetId() })

	if p.refused(t, token.GetAccessToken()) {
		t.Error("a service's token did not survive the rotation")
	}
	if _, err := p.accounts.List(bearer(t, token.GetAccessToken()), &authpb.ListAccountsRequest{}); err != nil {
		t.Errorf("with a token of the key before: %v", err)
	}
	for _, k := range p.listKeys(t) {
		if k.GetId() == first && k.GetExpires() < token.GetExpiry() {
			t.Errorf("key %s goes at %d, a token signed with it at %d", first, k.GetExpires(), token.GetExpiry())
		}
	}
	if _, err := p.keys.Retire(p.asOperator(t), &authpb.RetireKeyRequest{Id: next.GetKey().GetId()}); errors.Code(err) != codes.FailedPrecondition {
		t.Errorf("the key that signs was retired: %v", err)
	}
	if _, err := p.keys.Retire(p.asOperator(t), &authpb.RetireKeyRequest{Id: first}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "tokens of a retired key are refused", func() bool { return p.refused(t, token.GetAccessToken()) })
}

func TestKeysAreForOperators(t *testing.T) {
	t.Parallel()
	p := setup(t)
	owner := p.asOwner(t)
	if _, err := p.keys.Rotate(owner, &authpb.RotateKeyRequest{}); errors.Code(err) != codes.PermissionDenied {
		t.Errorf("Rotate by an owner = %v", err)
	}
	if _, err := p.keys.Retire(owner, &authpb.RetireKeyRequest{Id: "x"}); errors.Code(err) != codes.PermissionDenied {
		t.Errorf("Retire by an owner = %v", err)
	}
	if _, err := p.keys.Rotate(t.Context(), &authpb.RotateKeyRequest{}); errors.Code(err) != codes.Unauthenticated {
		t.Errorf("Rotate by nobody = %v", err)
	}
	if _, err := p.keys.Retire(p.asOperator(t), &authpb.RetireKeyRequest{Id: "x"}); errors.Code(err) != codes.NotFound {
		t.Errorf("Retire of nothing = %v", err)
	}
}

func TestOldKeysAreReplacedAndPruned(t *testing.T) {
	t.Parallel()
	p := setup(t)
	first := p.signingKey(t)
	svc, err := New(Stores{p.db, nil, nil}, p.verifier, seal.Cluster{Secret: pgtest.Secret}, slog.New(slog.DiscardHandler), Options{KeyAge: 24 * time.Hour, ServiceToken: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if err := svc.turnKeys(t.Context()); err != nil || len(p.listKeys(t)) != 1 {
		t.Fatalf("a young key was replaced: %v, %v", p.listKeys(t), err)
	}
	p.exec(t, `UPDATE auth.keys SET created_at = now() - interval '25 hours'`)
	for range 2 { // once is enough
		if err := svc.turnKeys(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if keys := p.listKeys(t); len(keys) != 2 || keys[0].GetSignsFrom() == 0 {
		t.Fatalf("an old key was not replaced: %v", keys)
	}
	p.exec(t, `UPDATE auth.keys SET active = (id <> '`+first+`'), signs_from = NULL, expires_at = CASE WHEN id = '`+first+`' THEN now() END`)
	if err := svc.turnKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	if keys := p.listKeys(t); len(keys) != 1 || keys[0].GetId() == first {
		t.Errorf("left are %v", keys)
	}
}
