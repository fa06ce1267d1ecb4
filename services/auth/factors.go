package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"regexp"
	"strings"
	"time"

	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/abuse"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/rpc"
	authpb "github.com/micro/platform/proto/auth"
)

const (
	// factorStep is how long a code is good for, in seconds, as authenticators
	// have it.
	factorStep = 30
	// recoveryCodes is how many there are, of recoveryLength characters of base
	// 32: 50 bits each.
	recoveryCodes  = 10
	recoveryLength = 10
	// factorSecret is in bytes, as RFC 4226 recommends.
	factorSecret = 20
)

var (
	oneTimeRule  = regexp.MustCompile(`^[0-9]{6}$`)
	recoveryRule = regexp.MustCompile(`^[A-Z2-7]{10}$`)
)

// factors is the API auth.Factors.
type factors struct {
	authpb.UnsafeFactorsServer
	*Service
}

// factorCaller answers the account and the person of a caller.
func (s *Service) factorCaller(ctx context.Context) (account, person, error) {
	a, err := s.callersPerson(ctx)
	if err != nil {
		return a, person{}, err
	}
	p, err := s.db.personOf(ctx, a.Person)
	return a, p, err
}

// Get implements the RPC.
func (s factors) Get(ctx context.Context, _ *authpb.GetFactorsRequest) (*authpb.GetFactorsResponse, error) {
	a, p, err := s.factorCaller(ctx)
	if err != nil {
		return nil, err
	}
	left, err := s.db.recoveryCodesLeft(ctx, p.Mailbox)
	if err != nil {
		return nil, err
	}
	return &authpb.GetFactorsResponse{Enrolled: a.Enrolled, Since: unix(p.FactorSince), RecoveryCodes: left, Required: a.Demanded,
		Authenticator: p.FactorSince != nil}, nil
}

// Enrol implements the RPC.
func (s factors) Enrol(ctx context.Context, req *authpb.EnrolRequest) (*authpb.EnrolResponse, error) {
	a, p, err := s.factorCaller(ctx)
	if err != nil {
		return nil, err
	}
	if p.FactorSince != nil {
		return nil, errors.New(codes.FailedPrecondition, "you have an authenticator: turn it off first, with \"micro user 2fa disable\"")
	}
	if err := s.provePassword(ctx, a, req.GetPassword()); err != nil {
		return nil, err
	}
	key, err := totp.Generate(totp.GenerateOpts{Issuer: "Micro", AccountName: a.ID, SecretSize: factorSecret, Rand: rand.Reader})
	if err != nil {
		return nil, err
	}
	if err := s.db.putFactor(ctx, p.Mailbox, s.signer.box.Seal([]byte(key.Secret()), factorOwner(p.Mailbox))); err != nil {
		return nil, err
	}
	return &authpb.EnrolResponse{Url: key.URL(), Secret: key.Secret()}, nil
}

// factorOwner binds a sealed secret to its person.
func factorOwner(mailbox string) string { return "factor/" + mailbox }

// provePassword wants the password of somebody who has logged in already.
func (s *Service) provePassword(ctx context.Context, a account, secret string) error {
	if secret == "" || len(secret) > maxSecret {
		return errors.New(codes.InvalidArgument, "password: yours is needed")
	}
	return s.prove(ctx, attempt{a.Namespace, a.ID, rpc.OriginOf(ctx).Address}, a, secret)
}

// Confirm implements the RPC.
func (s factors) Confirm(ctx context.Context, req *authpb.ConfirmRequest) (*authpb.ConfirmResponse, error) {
	_, p, err := s.factorCaller(ctx)
	if err != nil {
		return nil, err
	}
	if p.Factor == nil || p.FactorSince != nil {
		return nil, errors.New(codes.FailedPrecondition, "there is no second factor to be confirmed: begin with \"micro user 2fa enable\"")
	}
	if err := s.checkCode(ctx, p, req.GetCode(), false); err != nil {
		return nil, err
	}
	shown, digests := s.newRecoveryCodes(p.Mailbox)
	if err := s.db.confirmFactor(ctx, p, digests); err != nil {
		return nil, factorChanged(err)
	}
	return &authpb.ConfirmResponse{RecoveryCodes: shown}, nil
}

func factorChanged(err error) error {
	if err == errNoPerson {
		return errors.New(codes.Aborted, "the second factor has changed in the meantime, begin again")
	}
	return err
}

// Recover implements the RPC.
func (s factors) Recover(ctx context.Context, req *authpb.RecoverRequest) (*authpb.RecoverResponse, error) {
	a, p, err := s.factorCaller(ctx)
	if err != nil {
		return nil, err
	}
	if !a.Enrolled {
		return nil, errNoFactor()
	}
	if err := s.checkCode(ctx, p, req.GetCode(), true); err != nil {
		return nil, err
	}
	shown, digests := s.newRecoveryCodes(p.Mailbox)
	if err := s.db.replaceRecoveryCodes(ctx, p.Mailbox, digests); err != nil {
		return nil, err
	}
	return &authpb.RecoverResponse{RecoveryCodes: shown}, nil
}

// Remove implements the RPC.
func (s factors) Remove(ctx context.Context, req *authpb.RemoveFactorRequest) (*authpb.RemoveFactorResponse, error) {
	a, p, err := s.factorCaller(ctx)
	if err != nil {
		return nil, err
	}
	if p.FactorSince == nil {
		return nil, errNoFactor()
	}
	if err := s.provePassword(ctx, a, req.GetPassword()); err != nil {
		return nil, err
	}
	if err := s.checkCode(ctx, p, req.GetCode(), true); err != nil {
		return nil, err
	}
	return &authpb.RemoveFactorResponse{}, s.db.removeFactor(ctx, p.Mailbox, s.lives())
}

func errNoFactor() error {
	return errors.New(codes.FailedPrecondition, "you have no second factor: set one up with \"micro user 2fa enable\"")
}

// newRecoveryCodes answers codes to be shown, and what is kept of them.
func (s *Service) newRecoveryCodes(mailbox string) (shown []string, digests [][]byte) {
	for range recoveryCodes {
		code := rand.Text()[:recoveryLength]
		shown = append(shown, code[:recoveryLength/2]+"-"+code[recoveryLength/2:])
		digests = append(digests, s.recoveryDigest(mailbox, code))
	}
	return shown, digests
}

func (s *Service) recoveryDigest(mailbox, code string) []byte {
	return s.resets.sum("recovery code", mailbox, code)
}

// secondFactor wants a code, or a passkey, from a person who has a second factor.
func (s *Service) secondFactor(ctx context.Context, a account, code string, passkey *authpb.PasskeyLoginRequest) error {
	if !a.Enrolled {
		return nil
	}
	if passkey != nil {
		owner, err := s.provePasskey(ctx, passkey)
		if err == nil && owner != a.Person {
			err = errCeremony(nil)
		}
		return err
	}
	if code == "" {
		return errors.New(codes.InvalidArgument, "Code required: the account has a second factor. Log in with a newer micro, which asks for the code, or in the browser (\"micro login --with browser\"), or use an API token of yours (\"micro auth token create\") in the place of the password").For(identity.CodeRequired)
	}
	p, err := s.db.personOf(ctx, a.Person)
	if err != nil {
		return err
	}
	return s.checkCode(ctx, p, code, true)
}

// checkCode takes a code of the authenticator or, where that is possible, a
// recovery code. Neither counts twice.
func (s *Service) checkCode(ctx context.Context, p person, typed string, recovery bool) error {
	limit := factorLimits(p.Mailbox)
	if err := s.resets.Take(ctx, limit); err != nil {
		return err
	}
	good, err := s.spendCode(ctx, p, strings.ToUpper(strings.NewReplacer(" ", "", "-", "").Replace(errors.Clip(typed))), recovery)
	if err != nil {
		return err
	}
	if !good {
		return errors.New(codes.InvalidArgument, "code: it is not correct, or was used before: wait for the next one").For(identity.CodeRequired)
	}
	for _, l := range limit {
		if err := s.resets.Forget(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// factorLimits bound the guesses at a code of six digits, of which three are
// good at any time.
func factorLimits(mailbox string) []abuse.Limit {
	return []abuse.Limit{
		{Kind: "factor", Subject: mailbox, Times: 5, Within: 5 * time.Minute, Reason: "too many wrong codes"},
		{Kind: "factor day", Subject: mailbox, Times: 50, Within: 24 * time.Hour, Reason: "too many wrong codes"},
	}
}

func (s *Service) spendCode(ctx context.Context, p person, code string, recovery bool) (bool, error) {
	if recovery && recoveryRule.MatchString(code) {
		return s.db.spendRecoveryCode(ctx, p.Mailbox, s.recoveryDigest(p.Mailbox, code))
	}
	if !oneTimeRule.MatchString(code) {
		return false, nil
	}
	if p.Factor == nil || recovery && p.FactorSince == nil { // one that is not confirmed opens nothing
		return false, nil
	}
	secret, err := s.signer.box.Open(p.Factor, factorOwner(p.Mailbox))
	if err != nil {
		return false, err
	}
	step, ok, err := matchingStep(string(secret), code, s.now())
	if err != nil || !ok {
		return false, err
	}
	return s.db.spendStep(ctx, p.Mailbox, step)
}

// matchingStep answers the step of time whose code it is: the current one, or
// one beside it, for clocks that differ.
func matchingStep(secret, code string, now time.Time) (int64, bool, error) {
	if _, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret); err != nil {
		return 0, false, err
	}
	current := now.Unix() / factorStep
	for _, step := range []int64{current, current - 1, current + 1} {
		want, err := hotp.GenerateCode(secret, uint64(step))
		if err != nil {
			return 0, false, err
		}
		if subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 {
			return step, true, nil
		}
	}
	return 0, false, nil
}
