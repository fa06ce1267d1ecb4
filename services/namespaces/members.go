package namespaces

import (
	"context"
	"slices"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/grants"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/rpc"
	authpb "github.com/micro/platform/proto/auth"
	namespacespb "github.com/micro/platform/proto/namespaces"
)

// members is the API namespaces.Members.
type members struct {
	namespacespb.UnsafeMembersServer
	*Service
}

// List implements the RPC.
func (s members) List(ctx context.Context, req *namespacespb.ListMembersRequest) (*namespacespb.ListMembersResponse, error) {
	name, err := memberOf(ctx, req.GetNamespace())
	if err != nil {
		return nil, err
	}
	list, err := s.db.members(ctx, name)
	if err != nil {
		return nil, err
	}
	rsp := &namespacespb.ListMembersResponse{}
	for _, m := range list {
		rsp.Members = append(rsp.Members, &namespacespb.Member{Account: m.Account, Role: string(m.Role), Since: m.Since.Unix()})
	}
	return rsp, nil
}

// memberOf is identity.Member for namespaces that have members. That of the
// operators has accounts only.
func memberOf(ctx context.Context, requested string) (string, error) {
	name, err := identity.Member(ctx, requested)
	if err != nil {
		return "", err
	}
	if name == identity.Platform {
		return "", errors.New(codes.FailedPrecondition, "namespace %s is the operators' and has no members, only accounts: \"micro auth list accounts\"", name)
	}
	if !nameRule.MatchString(name) {
		return "", noNamespace(name)
	}
	return name, nil
}

// changer is memberOf for who changes members: somebody who has logged in.
func changer(ctx context.Context, requested string) (string, error) {
	if _, err := identity.RequireLogin(ctx); err != nil {
		return "", err
	}
	return memberOf(ctx, requested)
}

// roleOf answers what the caller may do in a namespace with these members.
// Operators are owners everywhere; an account with scope admin that belongs to
// no person is an admin.
func (r *roster) roleOf(ctx context.Context) grants.Role {
	c, _ := identity.From(ctx)
	if c.Operator() {
		return grants.Owner
	}
	if c.Namespace != r.namespace || c.Type != identity.User {
		return ""
	}
	if m := r.find(c.ID); m != nil {
		return m.Role
	}
	if c.Admin() && c.Role() == "" {
		return grants.Admin
	}
	return ""
}

// mayManage refuses a caller who may not give or take the roles.
func (r *roster) mayManage(ctx context.Context, roles ...grants.Role) error {
	own := r.roleOf(ctx)
	if own != grants.Owner && own != grants.Admin {
		return errors.New(codes.PermissionDenied, "only owners and admins of namespace %q manage its members: \"micro namespace members\" shows who they are", r.namespace).For(identity.RoleMissing)
	}
	if own != grants.Owner && slices.Contains(roles, grants.Owner) {
		return errors.New(codes.PermissionDenied, "only owners of namespace %q make or change owners", r.namespace).For(identity.RoleMissing)
	}
	return nil
}

func noMember(account string) error {
	return errors.New(codes.NotFound, "no member %q: \"micro namespace members\" shows who there is", errors.Clip(account))
}

func checkRole(text string) (grants.Role, error) {
	role := grants.Role(text)
	if !slices.Contains(grants.Roles, role) {
		return "", errors.New(codes.InvalidArgument, "role: %q is none of owner, admin, developer, viewer, billing", errors.Clip(text))
	}
	return role, nil
}

// SetRole implements the RPC.
func (s members) SetRole(ctx context.Context, req *namespacespb.SetRoleRequest) (*namespacespb.SetRoleResponse, error) {
	name, err := changer(ctx, req.GetNamespace())
	if err != nil {
		return nil, err
	}
	role, err := checkRole(req.GetRole())
	if err != nil {
		return nil, err
	}
	return &namespacespb.SetRoleResponse{}, s.change(ctx, name, func(r *roster) error {
		m := r.find(req.GetAccount())
		if m == nil {
			if err := r.mayManage(ctx); err != nil {
				return err
			}
			return noMember(req.GetAccount())
		}
		if err := r.mayManage(ctx, m.Role, role); err != nil {
			return err
		}
		r.set(*m, role)
		return nil
	})
}

// Remove implements the RPC.
func (s members) Remove(ctx context.Context, req *namespacespb.RemoveMemberRequest) (*namespacespb.RemoveMemberResponse, error) {
	name, err := changer(ctx, req.GetNamespace())
	if err != nil {
		return nil, err
	}
	return &namespacespb.RemoveMemberResponse{}, s.change(ctx, name, func(r *roster) error {
		m := r.find(req.GetAccount())
		if m == nil {
			if err := r.mayManage(ctx); err != nil {
				return err
			}
			return noMember(req.GetAccount())
		}
		if err := r.mayManage(ctx, m.Role); err != nil {
			return err
		}
		r.set(*m, "")
		return nil
	})
}

// Leave implements the RPC.
func (s members) Leave(ctx context.Context, req *namespacespb.LeaveRequest) (*namespacespb.LeaveResponse, error) {
	name, err := changer(ctx, req.GetNamespace())
	if err != nil {
		return nil, err
	}
	c, _ := identity.From(ctx)
	if req.GetNamespace() != c.Namespace {
		return nil, errors.New(codes.InvalidArgument, "namespace: name the one to leave, which is %q", c.Namespace)
	}
	return &namespacespb.LeaveResponse{}, s.change(ctx, name, func(r *roster) error {
		m := r.find(c.ID)
		if m == nil {
			return noMember(c.ID)
		}
		r.set(*m, "")
		return nil
	})
}

// Transfer implements the RPC.
func (s members) Transfer(ctx context.Context, req *namespacespb.TransferRequest) (*namespacespb.TransferResponse, error) {
	name, err := changer(ctx, req.GetNamespace())
	if err != nil {
		return nil, err
	}
	c, _ := identity.From(ctx)
	own, err := s.callerMember(ctx)
	if err != nil {
		return nil, err
	}
	if name != own.Namespace || own.Role != grants.Owner {
		return nil, errors.New(codes.PermissionDenied, "only its owners transfer a namespace").For(identity.RoleMissing)
	}
	if err := s.confirm(ctx, own.Mailbox, req.GetPassword()); err != nil {
		return nil, err
	}
	return &namespacespb.TransferResponse{}, s.change(ctx, name, func(r *roster) error {
		from, to := r.find(c.ID), r.find(req.GetAccount())
		switch {
		case from == nil || from.Role != grants.Owner: // not any more
			return errors.New(codes.PermissionDenied, "only its owners transfer a namespace").For(identity.RoleMissing)
		case to == nil:
			return noMember(req.GetAccount())
		case to.Account == from.Account:
			return errors.New(codes.InvalidArgument, "account: %q owns the namespace already", to.Account)
		}
		r.owner = to.Account
		r.set(*to, grants.Owner)
		r.set(*from, grants.Admin)
		return nil
	})
}

// confirm wants the password of a person who has logged in already.
func (s *Service) confirm(ctx context.Context, mailbox, password string) error {
	rsp, err := s.owners.ProvePerson(identity.AsComponent(ctx), &authpb.ProvePersonRequest{
		Mailbox: mailbox, Password: password, Address: rpc.OriginOf(ctx).Address,
	})
	if err != nil {
		return passOn(err)
	}
	if !rsp.GetProven() {
		return errors.New(codes.InvalidArgument, "password: it is not yours")
	}
	return nil
}

// passOn answers what auth refuses for the caller: too many attempts, and what is
// wrong with what the caller sent.
func passOn(err error) error {
	switch c := errors.Code(err); c {
	case codes.ResourceExhausted, codes.InvalidArgument:
		return errors.New(c, "%s", errors.FromError(err).Detail)
	}
	return err
}

// callerMember answers the membership of the caller's account.
func (s *Service) callerMember(ctx context.Context) (member, error) {
	c, err := identity.RequireLogin(ctx)
	if err != nil {
		return member{}, err
	}
	m, err := s.db.member(ctx, c.Namespace, c.ID)
	if errors.Is(err, errNone) || err == nil && c.Type != identity.User {
		return m, errors.New(codes.FailedPrecondition, "account %q is no member of a namespace: only those who signed up, or accepted an invitation, are", c.ID)
	}
	return m, err
}

// change changes members, and tells auth.
func (s *Service) change(ctx context.Context, name string, do func(*roster) error) error {
	orders, err := s.db.changeMembers(ctx, name, do)
	switch {
	case errors.Is(err, errNone):
		return noNamespace(name)
	case errors.Is(err, errLastOwner):
		return errors.New(codes.FailedPrecondition, "the last owner of namespace %q remains: make another member an owner first", name)
	case err != nil:
		return err
	}
	return s.carryOutMembers(ctx, orders)
}
