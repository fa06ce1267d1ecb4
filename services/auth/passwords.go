package auth

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	netmail "net/mail"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/limits"
	"github.com/micro/platform/internal/mail"
	"github.com/micro/platform/internal/rpc"
	"github.com/micro/platform/internal/settings"
	authpb "github.com/micro/platform/proto/auth"
)

const (
	resetLife = 15 * time.Minute
	// resetTries bounds the guesses at a code of 40 bits.
	resetTries = 5
	codeLength = 8
)

// codeRule is a code as it is sent, in base 32: no 0 or 1 to be taken for a
// letter.
var codeRule = regexp.MustCompile(fmt.Sprintf(`^[A-Z2-7]{%d}$`, codeLength))

// resets is what the database does not have of codes, and the limits.
type resets struct {
	limits.Limiter
	pepper []byte
}

func newResets(r redis.UniversalClient, cluster settings.Secret) (resets, error) {
	key, err := hkdf.Key(sha256.New, []byte(cluster.Reveal()), nil, "micro auth password resets", sha256.Size)
	if err != nil {
		return resets{}, fmt.Errorf("derive key of codes: %w", err)
	}
	return resets{limits.New(r, "auth", key), key}, nil
}

func (r resets) sum(parts ...string) []byte {
	mac := hmac.New(sha256.New, r.pepper)
	for _, p := range parts {
		fmt.Fprintf(mac, "%d:%s", len(p), p)
	}
	return mac.Sum(nil)
}

// begin allows one mail to whom was typed, whether there is such an account or
// not.
func (r resets) begin(ctx context.Context, who subject, source string) error {
	return r.Take(ctx, r.limits(who, source))
}

func (r resets) limits(who subject, source string) []limits.Limit {
	all := []limits.Limit{
		{Kind: "reset", Subject: "everybody", Times: 100, Within: time.Minute, Reason: "too many people are resetting passwords at once"},
		{Kind: "reset minute", Subject: who.text(), Times: 1, Within: time.Minute, Reason: "a code was asked for a moment ago"},
		{Kind: "reset day", Subject: who.text(), Times: 10, Within: 24 * time.Hour, Reason: "too many codes were asked for"},
	}
	if network, _, ok := limits.Source(source); ok {
		all = append([]limits.Limit{{Kind: "reset source", Subject: network, Times: 20, Within: 24 * time.Hour,
			Reason: "too many codes were asked for from your network"}}, all...)
	}
	return all
}

// check allows one attempt with a code.
func (r resets) check(ctx context.Context, source string) error {
	network, _, ok := limits.Source(source)
	if !ok {
		return nil
	}
	return r.Take(ctx, []limits.Limit{{Kind: "reset check", Subject: network, Times: 20, Within: time.Minute, Reason: "too many attempts"}})
}

// subject is who was typed.
type subject struct{ namespace, id string }

func (s subject) text() string { return s.namespace + "\x00" + s.id }

// typed reads who is meant, in the one spelling that addresses are kept in.
func typed(id string, o *authpb.Options) (subject, error) {
	if id == "" {
		return subject{}, errors.New(codes.InvalidArgument, "id is missing")
	}
	if err := checkID("id", id); err != nil {
		return subject{}, err
	}
	s := subject{o.GetNamespace(), id}
	if s.namespace == "" {
		s.namespace = identity.Platform
	}
	if strings.Contains(id, "@") {
		s.id = strings.ToLower(id)
	}
	return s, checkNamespace(s.namespace)
}

// passwords is the API auth.Passwords.
type passwords struct {
	authpb.UnsafePasswordsServer
	*Service
}

// BeginReset implements the RPC. All that was typed takes the same steps: a mail
// to nobody is kept and dropped.
func (s passwords) BeginReset(ctx context.Context, req *authpb.BeginResetRequest) (*authpb.BeginResetResponse, error) {
	who, err := typed(req.GetId(), req.GetOptions())
	if err != nil {
		return nil, err
	}
	if err := s.resets.begin(ctx, who, rpc.OriginOf(ctx).Address); err != nil {
		return nil, err
	}
	a, err := s.find(ctx, who.namespace, who.id)
	if err != nil && err != errNoAccount {
		return nil, err
	}
	code := rand.Text()[:codeLength]
	m := resetMail(addressOf(a), a.Namespace, code)
	send := func(tx pgx.Tx) error { return s.mails.Put(ctx, tx, m, s.now().Add(resetLife)) }
	if err := s.db.putReset(ctx, s.resets.sum(who.namespace, who.id), s.resets.sum(who.namespace, who.id, code), resetLife, send); err != nil {
		return nil, err
	}
	return &authpb.BeginResetResponse{ExpiresIn: int64(resetLife / time.Second)}, nil
}

// addressOf answers where an account's mail goes: people are called by their
// addresses. Others have none.
func addressOf(a account) string {
	if a.Type != identity.User {
		return ""
	}
	if parsed, err := netmail.ParseAddress(a.ID); err != nil || parsed.Address != a.ID {
		return ""
	}
	return a.ID
}

func resetMail(to, namespace, code string) mail.Message {
	return mail.Message{To: to, Subject: "Your code for a new password", Text: fmt.Sprintf(`Hello,

somebody, probably you, asked for a new password for your account in namespace
%s of Micro. This is the code for it:

    %s

It is good for %d minutes and for one password:

    micro user reset password --email %s --code %s

If you did not ask for it, ignore this mail: nothing happens without the code.
`, namespace, code, int(resetLife.Minutes()), to, code)}
}

// Reset implements the RPC.
func (s passwords) Reset(ctx context.Context, req *authpb.ResetRequest) (*authpb.ResetResponse, error) {
	who, err := typed(req.GetId(), req.GetOptions())
	if err != nil {
		return nil, err
	}
	if err := checkSecret(who.id, req.GetNewSecret()); err != nil {
		return nil, err
	}
	if strings.EqualFold(req.GetNewSecret(), who.id) {
		return nil, errors.New(codes.InvalidArgument, "the password must not be your email address")
	}
	if err := s.resets.check(ctx, rpc.OriginOf(ctx).Address); err != nil {
		return nil, err
	}
	code, ok := parseCode(req.GetCode())
	if !ok {
		return nil, errWrongCode() // nobody was sent such a thing: it is a slip of the hand
	}
	key, digest := s.resets.sum(who.namespace, who.id), s.resets.sum(who.namespace, who.id, code)
	good, err := s.db.checkReset(ctx, key, digest)
	if err != nil {
		return nil, err
	}
	if !good {
		return nil, errWrongCode()
	}
	a, err := s.find(ctx, who.namespace, who.id)
	if err == errNoAccount { // deleted in the meantime; the code has shown whose it was
		return nil, errWrongCode()
	}
	if err != nil {
		return nil, err
	}
	hash, err := s.Service.passwords.Hash(ctx, req.GetNewSecret())
	if err != nil {
		return nil, err
	}
	spend := func(tx pgx.Tx) error { return spendReset(ctx, tx, key, digest) }
	switch err := s.db.changeSecret(ctx, a, hash, "", s.lives(), spend); err {
	case nil:
		s.failures.forget(ctx, attempt{who.namespace, who.id, rpc.OriginOf(ctx).Address}, s.log)
		return &authpb.ResetResponse{}, nil
	case errNoAccount, errSpent:
		return nil, errWrongCode()
	default:
		return nil, err
	}
}

// errWrongCode is one text for every way in which a code can be wrong.
func errWrongCode() error {
	return errors.New(codes.InvalidArgument, "the code is not valid or has expired")
}

// readable undoes what people do to a code when they type it.
var readable = strings.NewReplacer(" ", "", "-", "", "0", "O", "1", "I")

func parseCode(typed string) (string, bool) {
	if len(typed) > 4*codeLength {
		return "", false
	}
	code := readable.Replace(strings.ToUpper(typed))
	return code, codeRule.MatchString(code)
}
