package namespaces

import (
	"context"
	"crypto/rand"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/audit"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/mailbox"
	"github.com/micro/platform/internal/rpc"
	authpb "github.com/micro/platform/proto/auth"
	namespacespb "github.com/micro/platform/proto/namespaces"
)

const (
	inviteLife = 7 * 24 * time.Hour
	// inviteMailLife is how long it is tried to deliver the mail.
	inviteMailLife = 24 * time.Hour
)

// inviteRule is a code as crypto/rand.Text makes it: 130 bits, so that nobody
// guesses one.
var inviteRule = regexp.MustCompile(`^[A-Z2-7]{26}$`)

// invites is the API namespaces.Invites.
type invites struct {
	namespacespb.UnsafeInvitesServer
	*Service
}

func (i invite) proto() *namespacespb.Invite {
	return &namespacespb.Invite{
		Id: i.ID, Email: i.Address, Role: string(i.Role), InvitedBy: i.InvitedBy, Created: i.CreatedAt.Unix(), Expires: i.ExpiresAt.Unix(),
	}
}

func (s *Service) inviteDigest(code string) []byte { return s.pepper.sum("invite\x00" + code) }

// Create implements the RPC.
func (s invites) Create(ctx context.Context, req *namespacespb.CreateInviteRequest) (*namespacespb.CreateInviteResponse, error) {
	name, err := changer(ctx, req.GetNamespace())
	if err != nil {
		return nil, err
	}
	role, err := checkRole(req.GetRole())
	if err != nil {
		return nil, err
	}
	a, err := mailbox.Parse(req.GetEmail())
	if err != nil {
		return nil, err
	}
	c, _ := identity.From(ctx)
	made, err := s.send(ctx, invite{
		Namespace: name, ID: strings.ToLower(rand.Text()[:12]), Mailbox: a.Mailbox, Address: a.Account, Role: role, InvitedBy: c.ID,
	})
	if err != nil {
		return nil, err
	}
	return &namespacespb.CreateInviteResponse{Invite: made.proto()}, nil
}

// Resend implements the RPC.
func (s invites) Resend(ctx context.Context, req *namespacespb.ResendInviteRequest) (*namespacespb.ResendInviteResponse, error) {
	name, err := changer(ctx, req.GetNamespace())
	if err != nil {
		return nil, err
	}
	if err := s.mayInvite(ctx, name); err != nil {
		return nil, err
	}
	i, err := s.db.invite(ctx, name, req.GetId())
	if errors.Is(err, errNone) {
		return nil, noInvite(req.GetId())
	}
	if err != nil {
		return nil, err
	}
	made, err := s.send(ctx, i)
	if err != nil {
		return nil, err
	}
	return &namespacespb.ResendInviteResponse{Invite: made.proto()}, nil
}

// send keeps an invitation with a new code, and mails it.
func (s invites) send(ctx context.Context, i invite) (made invite, err error) {
	most, plan, err := s.maxMembers(ctx, i.Namespace)
	if err != nil {
		return made, err
	}
	code := rand.Text()
	_, err = s.db.changeMembersWith(ctx, i.Namespace, func(tx pgx.Tx, r *roster) error {
		if err := r.mayManage(ctx, i.Role); err != nil {
			return err
		}
		if m := r.person(i.Mailbox); m != nil {
			return errors.New(codes.AlreadyExists, "%s is a member already, as %s", m.Account, m.Role)
		}
		open, err := openInvites(ctx, tx, i.Namespace, i.Mailbox)
		if err != nil {
			return err
		}
		if !most.Allows(int64(len(r.members) + open + 1)) {
			return tooManyMembers(i.Namespace, plan, most, open)
		}
		if err := s.limits.invite(ctx, i.Namespace, i.Mailbox); err != nil {
			return err
		}
		if made, err = putInvite(ctx, tx, i, s.inviteDigest(code)); err != nil {
			return err
		}
		return s.mails.Put(ctx, tx, inviteMail(made, code), s.now().Add(inviteMailLife))
	})
	if errors.Is(err, errNone) {
		err = noNamespace(i.Namespace)
	}
	return made, err
}

func tooManyMembers(name, plan string, most plans.Limit, open int) error {
	return plans.Over(plans.Met{Plan: plan, Limit: "members", Most: most, Remedy: "remove one or revoke an invitation"},
		"namespace %q may have %d members, with the %d who are invited", name, most, open)
}

// List implements the RPC.
func (s invites) List(ctx context.Context, req *namespacespb.ListInvitesRequest) (*namespacespb.ListInvitesResponse, error) {
	name, err := memberOf(ctx, req.GetNamespace())
	if err != nil {
		return nil, err
	}
	if err := s.mayInvite(ctx, name); err != nil {
		return nil, err
	}
	list, err := s.db.invites(ctx, name)
	if err != nil {
		return nil, err
	}
	rsp := &namespacespb.ListInvitesResponse{}
	for _, i := range list {
		rsp.Invites = append(rsp.Invites, i.proto())
	}
	return rsp, nil
}

// mayInvite refuses who does not manage members, as far as can be said without
// keeping others from changing them.
func (s *Service) mayInvite(ctx context.Context, name string) error {
	list, err := s.db.members(ctx, name)
	if err != nil {
		return err
	}
	return (&roster{namespace: name, members: list}).mayManage(ctx)
}

// Revoke implements the RPC.
func (s invites) Revoke(ctx context.Context, req *namespacespb.RevokeInviteRequest) (*namespacespb.RevokeInviteResponse, error) {
	name, err := changer(ctx, req.GetNamespace())
	if err != nil {
		return nil, err
	}
	_, err = s.db.changeMembersWith(ctx, name, func(tx pgx.Tx, r *roster) error {
		if err := r.mayManage(ctx); err != nil {
			return err
		}
		found, err := removeInvite(ctx, tx, name, req.GetId())
		if err == nil && !found {
			err = noInvite(req.GetId())
		}
		return err
	})
	if errors.Is(err, errNone) {
		err = noNamespace(name)
	}
	return &namespacespb.RevokeInviteResponse{}, err
}

func noInvite(id string) error {
	return errors.New(codes.NotFound, "no open invitation %q: \"micro namespace invites\" shows them", errors.Clip(id))
}

// badInvite is one text for every way in which a code can be wrong.
func badInvite() error {
	return errors.New(codes.InvalidArgument, "the invitation is not valid any more: it was used, revoked, sent again, or has expired")
}

// Accept implements the RPC.
func (s invites) Accept(ctx context.Context, req *namespacespb.AcceptInviteRequest) (*namespacespb.AcceptInviteResponse, error) {
	if err := s.limits.accept(ctx, rpc.OriginOf(ctx).Address); err != nil {
		return nil, err
	}
	code := strings.ToUpper(strings.TrimSpace(req.GetCode()))
	if !inviteRule.MatchString(code) {
		return nil, badInvite()
	}
	digest := s.inviteDigest(code)
	i, err := s.db.inviteOf(ctx, digest)
	if errors.Is(err, errNone) {
		return nil, badInvite()
	}
	if err != nil {
		return nil, err
	}
	account, hash, err := s.invited(ctx, i, req.GetPassword())
	if err != nil {
		return nil, err
	}
	if err := audit.Concerns(ctx, i.Namespace, map[string]string{"account": account, "role": string(i.Role)}); err != nil {
		return nil, err
	}
	if err := s.join(ctx, i, digest, account, hash); err != nil {
		return nil, err
	}
	return &namespacespb.AcceptInviteResponse{Namespace: i.Namespace, Account: account, Role: string(i.Role)}, nil
}

// invited answers what the person who was invited logs in with, and the hash of
// the password of one who is new.
func (s invites) invited(ctx context.Context, i invite, secret string) (account, hash string, err error) {
	known, err := s.db.of(ctx, i.Mailbox)
	if err != nil {
		return "", "", err
	}
	account = i.Address
	if known.Account != "" {
		account = known.Account
	}
	if own, err := s.callerMember(ctx); err == nil && own.Mailbox == i.Mailbox {
		return account, "", nil
	}
	if err := checkPassword(secret, mailbox.Address{Account: i.Address, Mailbox: i.Mailbox}); err != nil {
		return "", "", err
	}
	rsp, err := s.owners.ProvePerson(identity.AsComponent(ctx), &authpb.ProvePersonRequest{
		Mailbox: i.Mailbox, Password: secret, Address: rpc.OriginOf(ctx).Address,
	})
	if err != nil {
		return "", "", passOn(err)
	}
	if rsp.GetKnown() && !rsp.GetProven() {
		return "", "", errors.New(codes.InvalidArgument, "the password is not that of the account of %s", i.Address)
	}
	if !rsp.GetKnown() {
		hash, err = s.passwords.Hash(ctx, secret)
	}
	return account, hash, err
}

// join spends an invitation and makes the member.
func (s invites) join(ctx context.Context, i invite, digest []byte, account, hash string) error {
	most, plan, err := s.maxMembers(ctx, i.Namespace)
	if err != nil {
		return err
	}
	orders, err := s.db.changeMembersWith(ctx, i.Namespace, func(tx pgx.Tx, r *roster) error {
		spent, err := spendInvite(ctx, tx, i, digest)
		switch {
		case err != nil:
			return err
		case !spent:
			return badInvite()
		case r.person(i.Mailbox) != nil || r.find(account) != nil:
			return errors.New(codes.AlreadyExists, "%s is a member of namespace %q already", account, i.Namespace)
		case !most.Allows(int64(len(r.members) + 1)):
			return tooManyMembers(i.Namespace, plan, most, 0)
		}
		r.add(member{Namespace: i.Namespace, Account: account, Mailbox: i.Mailbox, Role: i.Role}, hash)
		return nil
	})
	if errors.Is(err, errNone) {
		return badInvite()
	}
	if err != nil {
		return err
	}
	return s.carryOutMembers(ctx, orders)
}

// maxMembers is how many members the plan of a namespace allows, and its name.
func (s *Service) maxMembers(ctx context.Context, name string) (most plans.Limit, plan string, err error) {
	t, err := s.tenant(ctx, name)
	if err != nil {
		return 0, "", err
	}
	return s.tenants.catalogue.Find(t.GetPlan()).Limits.With(t.GetLimits()).Members, t.GetPlan(), nil
}
