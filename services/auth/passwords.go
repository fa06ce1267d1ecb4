package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	netmail "net/mail"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/abuse"
	"github.com/micro/platform/internal/audit"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/mail"
	"github.com/micro/platform/internal/passcode"
	"github.com/micro/platform/internal/rpc"
	authpb "github.com/micro/platform/proto/auth"
)

const (
	resetLife = 15 * time.Minute
	// resetTries bounds the guesses of a network at a code of 40 bits, and
	// resetGuesses those of all.
	resetTries   = 5
	resetGuesses = 100
)

// resets is what the database does not have of codes, and the limits.
type resets struct {
	abuse.Limiter
	pepper []byte
}

// resetKey is the purpose of its key.
const resetKey = "micro auth password resets"

func newResets(r redis.UniversalClient, key []byte) resets {
	return resets{abuse.New(r, "auth", key), key}
}

func (r resets) sum(parts ...string) []byte {
	mac := hmac.New(sha256.New, r.pepper)
	for _, p := range parts {
		fmt.Fprintf(mac, "%d:%s", len(p), p)
	}
	return mac.Sum(nil)
}

// begin allows a request for what was typed, whether there is such an account or
// not, and says whether a mail goes out for it. A network that asks too often is
// refused; that others ask keeps nobody from asking. Soon after a mail that
// somebody else asked for there is no other: its code is good for both. Networks
// where the account has logged in have mails of their own, so that strangers who
// use up the day's leave the owner some.
func (r resets) begin(ctx context.Context, who subject, source string, known bool) (mail bool, err error) {
	if err := r.Take(ctx, asks(who, source)); err != nil {
		return false, err
	}
	if err := r.Forget(ctx, tries(who, source)); err != nil {
		return false, err
	}
	switch err := r.Take(ctx, []abuse.Limit{mailMinute(who)}); {
	case errors.Code(err) == codes.ResourceExhausted:
		return false, nil
	case err != nil:
		return false, err
	}
	err = r.Take(ctx, []abuse.Limit{
		mailEverybody(),
		mailDay(who, source, known),
	})
	return err == nil, err
}

// asks are the limits of requests.
func asks(who subject, source string) []abuse.Limit {
	address, network, _ := abuse.Source(source)
	all := []abuse.Limit{
		{Kind: "reset minute", Subject: who.at(address), Times: 1, Within: time.Minute, Reason: "a code was asked for a moment ago"},
		{Kind: "reset day", Subject: who.at(address), Times: mailsADay, Within: 24 * time.Hour, Reason: "too many codes were asked for"},
		{Kind: "reset subject", Subject: who.text(), Times: 500, Within: 24 * time.Hour, Reason: "too many codes were asked for"},
	}
	if address != "" {
		all = append(all,
			abuse.Limit{Kind: "reset source", Subject: address, Times: 20, Within: 24 * time.Hour, Reason: "too many codes were asked for from your address"},
			abuse.Limit{Kind: "reset network", Subject: network, Times: 100, Within: 24 * time.Hour, Reason: "too many codes were asked for from your network"})
	}
	return all
}

// mailsADay is how many mails an address gets in a day because strangers ask,
// and as many from each network where its account has logged in.
const mailsADay = 5

func mailEverybody() abuse.Limit {
	return abuse.Limit{Kind: "reset", Subject: "everybody", Times: 100, Within: time.Minute, Reason: "too many people are resetting passwords at once"}
}

func mailMinute(who subject) abuse.Limit {
	return abuse.Limit{Kind: "reset mail minute", Subject: who.text(), Times: 1, Within: time.Minute, Reason: "a code was sent a moment ago"}
}

func mailDay(who subject, source string, known bool) abuse.Limit {
	pool := who.text()
	if known {
		pool = who.at(network(source))
	}
	return abuse.Limit{Kind: "reset mail day", Subject: pool, Times: mailsADay, Within: 24 * time.Hour,
		Reason: "too many codes were sent: ask from where you have logged in before"}
}

// tries are the guesses that one network has at a code, so that others do not
// use up the owner's.
func tries(who subject, source string) abuse.Limit {
	address, _, _ := abuse.Source(source)
	return abuse.Limit{Kind: "reset tries", Subject: who.at(address), Times: resetTries, Within: resetLife, Reason: "too many attempts"}
}

// check allows one attempt with a code.
func (r resets) check(ctx context.Context, who subject, source string) error {
	if address, _, ok := abuse.Source(source); ok {
		all := []abuse.Limit{{Kind: "reset check", Subject: address, Times: 20, Within: time.Minute, Reason: "too many attempts"}}
		if err := r.Take(ctx, all); err != nil {
			return err
		}
	}
	err := r.Take(ctx, []abuse.Limit{tries(who, source)})
	if errors.Code(err) == codes.ResourceExhausted {
		return errWrongCode() // another code makes another start
	}
	return err
}

// subject is who was typed.
type subject struct{ namespace, id string }

func (s subject) text() string { return s.namespace + "\x00" + s.id }

// at is the subject as far as one network is concerned.
func (s subject) at(network string) string { return s.text() + "\x00" + network }

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
	source := rpc.OriginOf(ctx).Address
	known, err := s.failures.isKnown(ctx, attempt{who.namespace, who.id, source})
	if err != nil {
		return nil, err
	}
	rsp := &authpb.BeginResetResponse{ExpiresIn: int64(resetLife / time.Second)}
	mailed, err := s.resets.begin(ctx, who, source, known)
	if err != nil {
		return nil, err
	}
	if !mailed {
		return rsp, nil
	}
	a, err := s.find(ctx, who.namespace, who.id)
	if err != nil && err != errNoAccount {
		return nil, err
	}
	code := passcode.New()
	m := resetMail(addressOf(a), a.Namespace, code)
	send := func(tx pgx.Tx) error { return s.mails.Put(ctx, tx, m, s.now().Add(resetLife)) }
	if err := s.db.putReset(ctx, s.resets.sum(who.namespace, who.id), s.resets.sum(who.namespace, who.id, code), resetLife, send); err != nil {
		return nil, err
	}
	return rsp, nil
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
	if err := s.resets.check(ctx, who, rpc.OriginOf(ctx).Address); err != nil {
		return nil, err
	}
	code, ok := passcode.Parse(req.GetCode())
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
	if err := audit.Concerns(ctx, a.Namespace, map[string]string{"account": a.ID}); err != nil {
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
