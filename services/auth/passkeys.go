package auth

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	authpb "github.com/micro/platform/proto/auth"
)

const (
	// ceremonyLife is how long a challenge is good.
	ceremonyLife = 5 * time.Minute
	maxPasskeys  = 20
	// maxCredential bounds what a browser answers.
	maxCredential = 32 << 10
	maxKeyName    = 64 // characters
)

// newRelyingParty is the console as passkeys know it; nil where it has no name,
// since they do not belong to IP addresses.
func newRelyingParty(console string) (*webauthn.WebAuthn, error) {
	u, err := url.Parse(console)
	if err != nil {
		return nil, err
	}
	if protocol.ValidateRPID(u.Hostname()) != nil {
		return nil, nil
	}
	limit := webauthn.TimeoutConfig{Enforce: true, Timeout: ceremonyLife, TimeoutUVD: ceremonyLife}
	return webauthn.New(&webauthn.Config{
		RPID: u.Hostname(), RPDisplayName: "Micro", RPOrigins: []string{console},
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementRequired, RequireResidentKey: protocol.ResidentKeyRequired(),
			UserVerification: protocol.VerificationRequired,
		},
		Timeouts: webauthn.TimeoutsConfig{Login: limit, Registration: limit},
	})
}

// passkeys is the API auth.Passkeys.
type passkeys struct {
	authpb.UnsafePasskeysServer
	*Service
}

// ceremony is what is remembered between a challenge and its answer.
type ceremony struct {
	Session webauthn.SessionData
	Person  string // who registers, or "" for a login
}

// holder is a person as authenticators know them.
type holder struct {
	handle []byte
	name   string
	keys   []passkey
}

func (h holder) WebAuthnID() []byte          { return h.handle }
func (h holder) WebAuthnName() string        { return h.name }
func (h holder) WebAuthnDisplayName() string { return h.name }

// WebAuthnCredentials implements webauthn.User.
func (h holder) WebAuthnCredentials() []webauthn.Credential {
	list := make([]webauthn.Credential, 0, len(h.keys))
	for _, k := range h.keys {
		c := k.Credential
		c.Authenticator.SignCount = uint32(k.Uses)
		list = append(list, c)
	}
	return list
}

func (s *Service) holder(ctx context.Context, mailbox, name string) (holder, error) {
	keys, err := s.db.passkeys(ctx, mailbox)
	return holder{s.resets.sum("passkeys", mailbox), name, keys}, err
}

// site is the console that passkeys belong to.
func (s *Service) site() (*webauthn.WebAuthn, error) {
	if s.relying == nil {
		return nil, errors.New(codes.FailedPrecondition, "passkeys need a console with a name: MICRO_AUTH_CONSOLE, like https://console.example.com")
	}
	return s.relying, nil
}

func (k passkey) proto() *authpb.Passkey {
	return &authpb.Passkey{Id: base64.RawURLEncoding.EncodeToString(k.ID), Name: k.Name, Created: k.CreatedAt.Unix(), LastUsed: unix(k.UsedAt)}
}

// List implements the RPC.
func (s passkeys) List(ctx context.Context, _ *authpb.ListPasskeysRequest) (*authpb.ListPasskeysResponse, error) {
	a, err := s.callersPerson(ctx)
	if err != nil {
		return nil, err
	}
	list, err := s.db.passkeys(ctx, a.Person)
	if err != nil {
		return nil, err
	}
	rsp := &authpb.ListPasskeysResponse{}
	for _, k := range list {
		rsp.Passkeys = append(rsp.Passkeys, k.proto())
	}
	return rsp, nil
}

// BeginRegistration implements the RPC.
func (s passkeys) BeginRegistration(ctx context.Context, req *authpb.BeginRegistrationRequest) (*authpb.BeginCeremonyResponse, error) {
	site, err := s.site()
	if err != nil {
		return nil, err
	}
	a, err := s.callersPerson(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.provePassword(ctx, a, req.GetPassword()); err != nil {
		return nil, err
	}
	h, err := s.holder(ctx, a.Person, a.ID)
	if err != nil {
		return nil, err
	}
	if len(h.keys) >= maxPasskeys {
		return nil, errors.New(codes.ResourceExhausted, "you have %d passkeys, which is the limit: remove one", maxPasskeys)
	}
	options, session, err := site.BeginRegistration(h, webauthn.WithExclusions(webauthn.Credentials(h.WebAuthnCredentials()).CredentialDescriptors()))
	if err != nil {
		return nil, err
	}
	return s.challenge(ctx, options.Response, ceremony{*session, a.Person})
}

// challenge answers the options of a ceremony, and remembers it.
func (s passkeys) challenge(ctx context.Context, options any, c ceremony) (*authpb.BeginCeremonyResponse, error) {
	b, err := json.Marshal(options)
	if err != nil {
		return nil, err
	}
	name := rand.Text()
	return &authpb.BeginCeremonyResponse{Ceremony: name, Options: string(b)}, s.pending.put(ctx, "ceremony", name, c, ceremonyLife)
}

func errCeremony(cause error) error {
	return errors.New(codes.InvalidArgument, "the passkey is not known here, or its answer came too late: begin again").Because(cause)
}

// Register implements the RPC.
func (s passkeys) Register(ctx context.Context, req *authpb.RegisterPasskeyRequest) (*authpb.RegisterPasskeyResponse, error) {
	site, err := s.site()
	if err != nil {
		return nil, err
	}
	a, err := s.callersPerson(ctx)
	if err != nil {
		return nil, err
	}
	name := strings.TrimSpace(req.GetName())
	if err := checkKeyName(name); err != nil {
		return nil, err
	}
	if len(req.GetCredential()) > maxCredential {
		return nil, errors.New(codes.InvalidArgument, "credential: longer than %d bytes", maxCredential)
	}
	var c ceremony
	if err := s.pending.take(ctx, "ceremony", req.GetCeremony(), &c); err != nil || c.Person != a.Person {
		return nil, errCeremony(err)
	}
	h, err := s.holder(ctx, a.Person, a.ID)
	if err != nil {
		return nil, err
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes([]byte(req.GetCredential()))
	if err != nil {
		return nil, errCeremony(err)
	}
	made, err := site.CreateCredential(h, c.Session, parsed)
	if err != nil {
		return nil, errCeremony(err)
	}
	return s.keepPasskey(ctx, a, name, made)
}

func (s passkeys) keepPasskey(ctx context.Context, a account, name string, made *webauthn.Credential) (*authpb.RegisterPasskeyResponse, error) {
	made.Attestation = webauthn.CredentialAttestation{} // none was asked for
	k := passkey{ID: made.ID, Mailbox: a.Person, Name: name, Credential: *made, Uses: int64(made.Authenticator.SignCount), CreatedAt: s.now()}
	var shown []string
	var digests [][]byte
	if !a.Enrolled {
		shown, digests = s.newRecoveryCodes(a.Person)
	}
	switch err := s.db.putPasskey(ctx, k, digests); err {
	case nil:
		return &authpb.RegisterPasskeyResponse{Passkey: k.proto(), RecoveryCodes: shown}, nil
	case errNameTaken:
		return nil, errors.New(codes.AlreadyExists, "name: you have a passkey %q already", name)
	case errIDTaken:
		return nil, errors.New(codes.AlreadyExists, "that passkey is registered already")
	default:
		return nil, err
	}
}

func checkKeyName(name string) error {
	n := utf8.RuneCountInString(name)
	if !utf8.ValidString(name) || n < 1 || n > maxKeyName || strings.ContainsFunc(name, unicode.IsControl) {
		return errors.New(codes.InvalidArgument, "name: 1 to %d characters", maxKeyName)
	}
	return nil
}

// Remove implements the RPC.
func (s passkeys) Remove(ctx context.Context, req *authpb.RemovePasskeyRequest) (*authpb.RemovePasskeyResponse, error) {
	a, err := s.callersPerson(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.provePassword(ctx, a, req.GetPassword()); err != nil {
		return nil, err
	}
	id, err := base64.RawURLEncoding.DecodeString(req.GetId())
	found := false
	if err == nil {
		found, err = s.db.removePasskey(ctx, a.Person, id, s.lives())
	} else {
		err = nil // it is the id of none
	}
	if err == nil && !found {
		err = errors.New(codes.NotFound, "no passkey %q", errors.Clip(req.GetId()))
	}
	return &authpb.RemovePasskeyResponse{}, err
}

// BeginLogin implements the RPC.
func (s passkeys) BeginLogin(ctx context.Context, _ *authpb.BeginPasskeyLoginRequest) (*authpb.BeginCeremonyResponse, error) {
	site, err := s.site()
	if err != nil {
		return nil, err
	}
	if err := s.bound(ctx, "passkey"); err != nil {
		return nil, err
	}
	options, session, err := site.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return nil, err
	}
	return s.challenge(ctx, options.Response, ceremony{Session: *session})
}

// Login implements the RPC.
func (s passkeys) Login(ctx context.Context, req *authpb.PasskeyLoginRequest) (*authpb.TokenResponse, error) {
	mailbox, err := s.provePasskey(ctx, req)
	if err != nil {
		return nil, err
	}
	a, err := s.db.accountOf(ctx, mailbox)
	if err == errNoAccount {
		return nil, errors.New(codes.FailedPrecondition, "you are not a member of any namespace: sign up for one, or accept an invitation")
	}
	if err != nil {
		return nil, err
	}
	return s.open(ctx, a, req.GetTokenExpiry())
}

// provePasskey answers whose passkey has answered a challenge.
func (s *Service) provePasskey(ctx context.Context, req *authpb.PasskeyLoginRequest) (mailbox string, err error) {
	site, err := s.site()
	if err != nil {
		return "", err
	}
	if len(req.GetCredential()) > maxCredential {
		return "", errors.New(codes.InvalidArgument, "credential: longer than %d bytes", maxCredential)
	}
	var c ceremony
	if err := s.pending.take(ctx, "ceremony", req.GetCeremony(), &c); err != nil || c.Person != "" {
		return "", errCeremony(err)
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes([]byte(req.GetCredential()))
	if err != nil {
		return "", errCeremony(err)
	}
	used, err := site.ValidateDiscoverableLogin(func(id, _ []byte) (webauthn.User, error) {
		if mailbox, err = s.db.passkeyHolder(ctx, id); err != nil {
			return nil, err
		}
		return s.holder(ctx, mailbox, mailbox)
	}, c.Session, parsed)
	if err != nil {
		return "", errCeremony(err)
	}
	fresh, err := s.db.usePasskey(ctx, *used)
	if err != nil {
		return "", err
	}
	if !fresh || used.Authenticator.CloneWarning {
		s.log.WarnContext(ctx, "a passkey's counter went back: there may be a copy of it", "passkey", base64.RawURLEncoding.EncodeToString(used.ID))
		return "", errCeremony(nil)
	}
	return mailbox, nil
}
