package namespaces

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/audit"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/mailbox"
	"github.com/micro/platform/internal/passcode"
	"github.com/micro/platform/internal/password"
	"github.com/micro/platform/internal/rpc"
	authpb "github.com/micro/platform/proto/auth"
	namespacespb "github.com/micro/platform/proto/namespaces"
)

const (
	codeLife = 10 * time.Minute
	// maxAttempts bounds the guesses of a network at a code of 40 bits, and
	// maxGuesses those of all.
	maxAttempts = 5
	maxGuesses  = 100
)

// Begin implements Signup. Known and unknown addresses take the same steps; only
// the mail differs, and that is sent afterwards.
func (s *Service) Begin(ctx context.Context, req *namespacespb.BeginRequest) (*namespacespb.BeginResponse, error) {
	a, err := mailbox.Parse(req.GetEmail())
	if err != nil {
		return nil, err
	}
	if err := s.throwaway.check(a); err != nil {
		return nil, err
	}
	rsp := &namespacespb.BeginResponse{ExpiresIn: int64(codeLife / time.Second)}
	mailed, err := s.limits.begin(ctx, a, rpc.OriginOf(ctx).Address)
	if err != nil {
		return nil, err
	}
	if !mailed { // there is a code in the mailbox
		return rsp, nil
	}
	known, err := s.db.of(ctx, a.Mailbox)
	if err != nil {
		return nil, err
	}
	code := passcode.New()
	m := codeMail(a, code)
	if known.Namespace != "" {
		m = knownMail(known.Account, known.Namespace)
	}
	send := func(tx pgx.Tx) error { return s.mails.Put(ctx, tx, m, s.now().Add(codeLife)) }
	if err := s.db.putCode(ctx, a.Mailbox, s.pepper.digest(a, code), codeLife, send); err != nil {
		return nil, err
	}
	return rsp, nil
}

// Verify implements Signup.
func (s *Service) Verify(ctx context.Context, req *namespacespb.VerifyRequest) (*namespacespb.VerifyResponse, error) {
	a, err := mailbox.Parse(req.GetEmail())
	if err != nil {
		return nil, err
	}
	if _, err := s.checkCode(ctx, a, req.GetCode()); err != nil {
		return nil, err
	}
	name, err := s.propose(ctx, a.Local())
	if err != nil {
		return nil, err
	}
	return &namespacespb.VerifyResponse{Proposal: name}, nil
}

// checkCode answers the digest of a code that is good.
func (s *Service) checkCode(ctx context.Context, a mailbox.Address, typed string) ([]byte, error) {
	source := rpc.OriginOf(ctx).Address
	if err := s.limits.check(ctx, a, source); err != nil {
		return nil, err
	}
	code, ok := passcode.Parse(typed)
	if !ok {
		return nil, badCode() // nobody was sent such a thing: it is a slip of the hand
	}
	digest := s.pepper.digest(a, code)
	good, err := s.db.checkCode(ctx, a.Mailbox, digest)
	if err != nil {
		return nil, err
	}
	if !good {
		return nil, badCode()
	}
	return digest, s.limits.good(ctx, a, source)
}

// badCode is one text for every way in which a code can be wrong.
func badCode() error {
	return errors.New(codes.InvalidArgument, "the code is not valid or has expired")
}

// propose answers a name that is free at the moment.
func (s *Service) propose(ctx context.Context, wish string) (string, error) {
	names := candidates(wish)
	taken, err := s.db.taken(ctx, names)
	if err != nil {
		return "", err
	}
	for _, n := range names {
		if !slices.Contains(taken, n) {
			return n, nil
		}
	}
	return "", fmt.Errorf("none of %d names for a namespace is free", len(names))
}

// Complete implements Signup.
func (s *Service) Complete(ctx context.Context, req *namespacespb.CompleteRequest) (*namespacespb.CompleteResponse, error) {
	if name := req.GetNamespace(); name != "" {
		if err := checkName(name); err != nil {
			return nil, err
		}
	}
	prove := s.byCode
	if req.GetTicket() != "" {
		prove = s.byTicket
	}
	p, err := prove(ctx, req)
	if err != nil {
		return nil, err
	}
	hash, err := s.passwords.Hash(ctx, p.password)
	if err != nil {
		return nil, err
	}
	o, err := s.create(ctx, p.address, p.digest, order{
		Namespace: req.GetNamespace(), Account: p.address.Account, PasswordHash: hash, Mailbox: p.address.Mailbox,
		Provider: p.login.GetProvider(), Subject: p.login.GetSubject(), Email: p.login.GetEmail(),
	})
	if err != nil {
		return nil, err
	}
	// The namespace is there by now: it is not taken back for want of an entry.
	if err := audit.Concerns(ctx, o.Namespace, map[string]string{"account": o.Account}); err != nil {
		s.log.WarnContext(ctx, "a sign-up is not in the audit log", "namespace", o.Namespace, "error", err)
	}
	if err := s.carryOut(ctx, o); err != nil {
		return nil, err
	}
	return &namespacespb.CompleteResponse{Namespace: o.Namespace, Account: o.Account}, nil
}

// proven is what somebody who signs up has shown.
type proven struct {
	address  mailbox.Address
	password string
	digest   []byte                // of a code, which is to be spent
	login    *authpb.ExternalLogin // in the place of a code
}

// byCode is for who has the code of a mail.
func (s *Service) byCode(ctx context.Context, req *namespacespb.CompleteRequest) (proven, error) {
	a, err := mailbox.Parse(req.GetEmail())
	if err != nil {
		return proven{}, err
	}
	if err := checkPassword(req.GetPassword(), a); err != nil {
		return proven{}, err
	}
	digest, err := s.checkCode(ctx, a, req.GetCode())
	return proven{address: a, password: req.GetPassword(), digest: digest}, err
}

// byTicket is for who has signed in elsewhere, with an address that is verified
// there. Without a password they have one that nobody knows, until they reset it.
func (s *Service) byTicket(ctx context.Context, req *namespacespb.CompleteRequest) (proven, error) {
	rsp, err := s.owners.ProveTicket(identity.AsComponent(ctx), &authpb.ProveTicketRequest{Ticket: req.GetTicket(), Verifier: req.GetVerifier()})
	if err != nil {
		return proven{}, passOn(err)
	}
	a, err := mailbox.Parse(rsp.GetEmail())
	if err != nil {
		return proven{}, err
	}
	if err := s.throwaway.check(a); err != nil {
		return proven{}, err
	}
	p := proven{address: a, password: req.GetPassword(), login: rsp.GetLogin()}
	if p.password == "" {
		p.password = rand.Text()
	}
	return p, checkPassword(p.password, a)
}

func checkPassword(p string, a mailbox.Address) error {
	switch {
	case len(p) < password.MinLength || len(p) > password.MaxLength:
		return errors.New(codes.InvalidArgument, "a password has %d to %d bytes, this one has %d", password.MinLength, password.MaxLength, len(p))
	case strings.EqualFold(p, a.Account) || strings.EqualFold(p, a.Mailbox):
		return errors.New(codes.InvalidArgument, "the password must not be your email address")
	}
	return nil
}

// create makes the namespace of an order, with a proposal if it names none.
func (s *Service) create(ctx context.Context, a mailbox.Address, digest []byte, o order) (order, error) {
	chosen := o.Namespace != ""
	for attempt := 0; ; attempt++ {
		if !chosen {
			name, err := s.propose(ctx, a.Local())
			if err != nil {
				return o, err
			}
			o.Namespace = name
		}
		err := s.db.create(ctx, a, digest, o)
		switch {
		case errors.Is(err, errCodeSpent):
			return o, badCode()
		case errors.Is(err, errNameTaken) && !chosen && attempt < 3:
			continue // by somebody who was faster
		case errors.Is(err, errNameTaken):
			proposal, err := s.propose(ctx, o.Namespace)
			if err != nil {
				return o, err
			}
			return o, errors.New(codes.AlreadyExists, "namespace %q is taken, %q is free", o.Namespace, proposal)
		case errors.Is(err, errMailboxTaken):
			return o, knownAddress()
		}
		return o, err
	}
}

// knownAddress is for people who have shown that the address is theirs.
func knownAddress() error {
	return errors.New(codes.AlreadyExists, "your address has an account already: log in with \"micro login\"")
}
