package auth

import (
	"context"
	"slices"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/grants"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/password"
	authpb "github.com/micro/platform/proto/auth"
)

// scopesFor answers the scopes of an account in a role. Those that have nothing
// to do with roles stay, since rules may ask for them.
func scopesFor(role grants.Role, has []string) []string {
	scopes := slices.DeleteFunc(slices.Clone(has), func(s string) bool { return s == "admin" || grants.IsRoleScope(s) })
	if role == grants.Owner || role == grants.Admin {
		scopes = append(scopes, "admin")
	}
	return append(scopes, role.Scope())
}

// memberOrder is what namespaces wants of a member's account.
type memberOrder struct {
	Namespace, Account, Mailbox string
	Role                        grants.Role // "" removes it
	Version                     int64
	PasswordHash                string // of a person who is new
}

// SetMember implements the RPC.
func (s components) SetMember(ctx context.Context, req *authpb.SetMemberRequest) (*authpb.SetMemberResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	o := memberOrder{req.GetNamespace(), req.GetAccount(), req.GetMailbox(), grants.Role(req.GetRole()), req.GetVersion(), req.GetPasswordHash()}
	if err := checkMemberOrder(o); err != nil {
		return nil, err
	}
	switch err := s.db.setMember(ctx, o, s.lives()); err {
	case nil:
		return &authpb.SetMemberResponse{}, nil
	case errNoPerson:
		return nil, errors.New(codes.FailedPrecondition, "%q is no person, and no password came with the order", o.Mailbox)
	case errNameTaken:
		return nil, errors.New(codes.AlreadyExists, "another account of the namespace is called %q", o.Account)
	default:
		return nil, err
	}
}

func checkMemberOrder(o memberOrder) error {
	if o.Account == "" || o.Mailbox == "" {
		return errors.New(codes.InvalidArgument, "account and mailbox are needed")
	}
	if o.Role != "" && !slices.Contains(grants.Roles, o.Role) {
		return errors.New(codes.InvalidArgument, "role: %q is none", errors.Clip(string(o.Role)))
	}
	if o.PasswordHash != "" {
		if err := password.CheckHash(o.PasswordHash); err != nil {
			return errors.New(codes.InvalidArgument, "password_hash: %v", err)
		}
	}
	if err := checkID("account", o.Account); err != nil {
		return err
	}
	return checkNamespace(o.Namespace)
}

// SetPolicy implements the RPC.
func (s components) SetPolicy(ctx context.Context, req *authpb.SetPolicyRequest) (*authpb.SetPolicyResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	if err := checkNamespace(req.GetNamespace()); err != nil {
		return nil, err
	}
	return &authpb.SetPolicyResponse{}, s.db.setPolicy(ctx, req.GetNamespace(), req.GetRequireSecondFactor(), req.GetVersion(), s.lives())
}

// ProvePerson implements the RPC.
func (s components) ProvePerson(ctx context.Context, req *authpb.ProvePersonRequest) (*authpb.ProvePersonResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	p, err := s.db.personOf(ctx, req.GetMailbox())
	if err == errNoPerson {
		return &authpb.ProvePersonResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	rsp := &authpb.ProvePersonResponse{Known: true}
	if req.GetPassword() == "" || len(req.GetPassword()) > maxSecret {
		return rsp, nil
	}
	err = s.prove(ctx, attempt{"", p.Mailbox, req.GetAddress()}, account{ID: p.Mailbox, Secret: p.Secret}, req.GetPassword())
	rsp.Proven = err == nil
	if errors.Code(err) == codes.InvalidArgument {
		err = nil // not proven
	}
	return rsp, err
}

// people is the API auth.People.
type people struct {
	authpb.UnsafePeopleServer
	*Service
}

// Switch implements the RPC.
func (s people) Switch(ctx context.Context, req *authpb.SwitchRequest) (*authpb.TokenResponse, error) {
	a, err := s.callersPerson(ctx)
	if err != nil {
		return nil, err
	}
	if err := checkNamespace(req.GetNamespace()); err != nil {
		return nil, err
	}
	b, err := s.db.accountIn(ctx, req.GetNamespace(), a.Person)
	if err == errNoAccount {
		return nil, errors.New(codes.NotFound, "you are not a member of a namespace %q: \"micro namespace list\" shows yours", req.GetNamespace())
	}
	if err != nil {
		return nil, err
	}
	return s.open(ctx, b, req.GetTokenExpiry())
}

// callersPerson answers the account of a caller who is a person and has logged
// in.
func (s *Service) callersPerson(ctx context.Context) (account, error) {
	caller, err := identity.RequireLogin(ctx)
	if err != nil {
		return account{}, err
	}
	a, err := s.db.account(ctx, caller.Namespace, caller.ID)
	if err != nil && err != errNoAccount {
		return account{}, err
	}
	if a.Person == "" || caller.Type != identity.User {
		return account{}, errors.New(codes.FailedPrecondition, "account %q is no person's: only those who signed up, or accepted an invitation, are people", caller.ID)
	}
	return a, nil
}
