package auth

import (
	"context"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pgtest"
	authpb "github.com/micro/platform/proto/auth"
)

func setupPasskeys(t *testing.T) *platform {
	t.Helper()
	return setupAt(t, pgtest.URL(t), map[string]string{"MICRO_AUTH_CONSOLE": consoleAddress})
}

// register makes a passkey of a person.
func (p *platform) register(t *testing.T, ctx context.Context, name string, a *authenticator) (*authpb.RegisterPasskeyResponse, error) {
	t.Helper()
	begun, err := p.passkeys.BeginRegistration(ctx, &authpb.BeginRegistrationRequest{Password: p.password})
	if err != nil {
		t.Fatal(err)
	}
	return p.passkeys.Register(ctx, &authpb.RegisterPasskeyRequest{Ceremony: begun.GetCeremony(), Credential: a.register(begun.GetOptions()), Name: name})
}

// challenge begins a login.
func (p *platform) challenge(t *testing.T) *authpb.BeginCeremonyResponse {
	t.Helper()
	begun, err := p.passkeys.BeginLogin(t.Context(), &authpb.BeginPasskeyLoginRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return begun
}

// use logs in with a passkey.
func (p *platform) use(t *testing.T, a *authenticator) (*authpb.TokenResponse, error) {
	t.Helper()
	begun := p.challenge(t)
	return p.passkeys.Login(t.Context(), &authpb.PasskeyLoginRequest{Ceremony: begun.GetCeremony(), Credential: a.login(begun.GetOptions())})
}

// TestPasskey goes through the life of a passkey: it is a login of its own, and
// the second factor of the password.
func TestPasskey(t *testing.T) {
	t.Parallel()
	p := setupPasskeys(t)
	ctx := p.asOwner(t)
	if _, err := p.passkeys.BeginRegistration(ctx, &authpb.BeginRegistrationRequest{Password: "not it"}); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("without the password: %v, want InvalidArgument", err)
	}
	key := newAuthenticator(t)
	made, err := p.register(t, ctx, "laptop", key)
	if err != nil || len(made.GetRecoveryCodes()) != recoveryCodes {
		t.Fatalf("Register = %v, %v; want it with recovery codes", made, err)
	}
	if _, err := p.register(t, ctx, "laptop", newAuthenticator(t)); errors.Code(err) != codes.AlreadyExists {
		t.Errorf("a second one of that name: %v, want AlreadyExists", err)
	}
	if more, err := p.register(t, ctx, "phone", newAuthenticator(t)); err != nil || len(more.GetRecoveryCodes()) != 0 {
		t.Errorf("a second one = %v, %v; want it without recovery codes", more, err)
	}
	rsp, err := p.use(t, key)
	if err != nil || claims(t, rsp.GetToken().GetAccessToken()).Subject != p.owner {
		t.Fatalf("logging in with it = %v, %v", rsp, err)
	}
	p.passwordNeeds(t, key, made.GetRecoveryCodes()[0])
	list, err := p.passkeys.List(ctx, &authpb.ListPasskeysRequest{})
	if err != nil || len(list.GetPasskeys()) != 2 || list.GetPasskeys()[0].GetLastUsed() == 0 {
		t.Errorf("List = %v, %v; want both, with use", list, err)
	}
	remove := &authpb.RemovePasskeyRequest{Id: made.GetPasskey().GetId(), Password: p.password}
	if _, err := p.passkeys.Remove(p.otherOwner(t), remove); errors.Code(err) != codes.NotFound {
		t.Errorf("somebody else removes it: %v, want NotFound", err)
	}
	for _, k := range list.GetPasskeys() {
		if _, err := p.passkeys.Remove(ctx, &authpb.RemovePasskeyRequest{Id: k.GetId(), Password: p.password}); err != nil {
			t.Error(err)
		}
	}
	if _, err := p.use(t, key); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("one that was removed: %v, want InvalidArgument", err)
	}
	p.login(t, "", p.owner, p.password) // which is enough again
}

// passwordNeeds checks that the password alone is not enough, and what is.
func (p *platform) passwordNeeds(t *testing.T, key *authenticator, recovery string) {
	t.Helper()
	login := func(code string, k *authpb.PasskeyLoginRequest) error {
		_, err := p.auth.Token(t.Context(), &authpb.TokenRequest{Id: p.owner, Secret: p.password, Code: code, Passkey: k})
		return err
	}
	if err := login("", nil); errors.FromError(err) == nil || errors.FromError(err).Reason != identity.CodeRequired {
		t.Errorf("the password alone: %v, want %s", err, identity.CodeRequired)
	}
	if err := login(recovery, nil); err != nil {
		t.Errorf("with a recovery code: %v", err)
	}
	begun := p.challenge(t)
	if err := login("", &authpb.PasskeyLoginRequest{Ceremony: begun.GetCeremony(), Credential: key.login(begun.GetOptions())}); err != nil {
		t.Errorf("with the passkey: %v", err)
	}
	begun = p.challenge(t)
	if err := login("", &authpb.PasskeyLoginRequest{Ceremony: begun.GetCeremony(), Credential: newAuthenticator(t).login(begun.GetOptions())}); err == nil {
		t.Error("with the passkey of nobody: no error")
	}
}

// TestPasskeyRefused tries what a forger, a copy and another site may send.
func TestPasskeyRefused(t *testing.T) {
	t.Parallel()
	p := setupPasskeys(t)
	key := newAuthenticator(t)
	if _, err := p.register(t, p.asOwner(t), "laptop", key); err != nil {
		t.Fatal(err)
	}
	used := p.challenge(t)
	credential := key.login(used.GetOptions())
	if _, err := p.passkeys.Login(t.Context(), &authpb.PasskeyLoginRequest{Ceremony: used.GetCeremony(), Credential: credential}); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*authenticator){
		"origin":          func(a *authenticator) { a.origin = "http://localhost.example.com:8082" },
		"port":            func(a *authenticator) { a.origin = "http://localhost:8083" },
		"party":           func(a *authenticator) { a.rpID = "example.com" },
		"challenge":       func(a *authenticator) { a.respond = text([]byte("something that was never asked for")) },
		"nobody verified": func(a *authenticator) { a.flags = present },
		"key":             func(a *authenticator) { a.key = newAuthenticator(t).key },
		"handle":          func(a *authenticator) { a.handle = []byte("somebody else") },
		"counter":         func(a *authenticator) { a.uses = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			forged := *key
			change(&forged)
			if _, err := p.use(t, &forged); errors.Code(err) != codes.InvalidArgument {
				t.Errorf("%v, want InvalidArgument", err)
			}
			key.uses = max(key.uses, forged.uses)
		})
	}
	for name, req := range map[string]*authpb.PasskeyLoginRequest{
		"replayed":                      {Ceremony: used.GetCeremony(), Credential: credential},
		"replayed to another challenge": {Ceremony: p.challenge(t).GetCeremony(), Credential: credential},
		"no JSON":                       {Ceremony: p.challenge(t).GetCeremony(), Credential: "{"},
		"nothing":                       {},
	} {
		if _, err := p.passkeys.Login(t.Context(), req); errors.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v, want InvalidArgument", name, err)
		}
	}
	if _, err := p.use(t, key); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

// TestPasskeyRegistrationRefused tries ceremonies of others.
func TestPasskeyRegistrationRefused(t *testing.T) {
	t.Parallel()
	p := setupPasskeys(t)
	ctx := p.asOwner(t)
	for name, change := range map[string]func(*authenticator){
		"origin":          func(a *authenticator) { a.origin = "https://example.com" },
		"party":           func(a *authenticator) { a.rpID = "example.com" },
		"challenge":       func(a *authenticator) { a.respond = text([]byte("something that was never asked for")) },
		"nobody verified": func(a *authenticator) { a.flags = present },
	} {
		key := newAuthenticator(t)
		change(key)
		if _, err := p.register(t, ctx, name, key); errors.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v, want InvalidArgument", name, err)
		}
	}
	begun, err := p.passkeys.BeginRegistration(ctx, &authpb.BeginRegistrationRequest{Password: p.password})
	if err != nil {
		t.Fatal(err)
	}
	req := &authpb.RegisterPasskeyRequest{Ceremony: begun.GetCeremony(), Credential: newAuthenticator(t).register(begun.GetOptions()), Name: "x"}
	if _, err := p.passkeys.Register(p.otherOwner(t), req); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("somebody else's ceremony: %v, want InvalidArgument", err)
	}
	if _, err := p.passkeys.Register(ctx, req); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("for the second time: %v, want InvalidArgument", err)
	}
	for _, name := range []string{"", "  ", "a\x00b"} {
		if _, err := p.register(t, ctx, name, newAuthenticator(t)); errors.Code(err) != codes.InvalidArgument {
			t.Errorf("name %q: %v, want InvalidArgument", name, err)
		}
	}
}

// TestPasskeysNeedAName: without one of the console there are none.
func TestPasskeysNeedAName(t *testing.T) {
	t.Parallel()
	for _, console := range []string{"", "http://127.0.0.1:8082"} {
		p := setupAt(t, pgtest.URL(t), map[string]string{"MICRO_AUTH_CONSOLE": console})
		if _, err := p.passkeys.BeginLogin(t.Context(), &authpb.BeginPasskeyLoginRequest{}); errors.Code(err) != codes.FailedPrecondition {
			t.Errorf("console %q: %v, want FailedPrecondition", console, err)
		}
	}
}
