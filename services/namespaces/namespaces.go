package namespaces

import (
	"context"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	namespacespb "github.com/micro/platform/proto/namespaces"
)

// Get implements Namespaces.
func (s *Service) Get(ctx context.Context, req *namespacespb.GetRequest) (*namespacespb.GetResponse, error) {
	name, err := identity.Member(ctx, req.GetNamespace())
	if err != nil {
		return nil, err
	}
	if name == identity.Platform { // nobody signed up for it
		return &namespacespb.GetResponse{Namespace: &namespacespb.Namespace{Id: name}}, nil
	}
	if !nameRule.MatchString(name) {
		return nil, noNamespace(name)
	}
	n, err := s.db.get(ctx, name)
	if errors.Is(err, errNone) {
		return nil, noNamespace(name)
	}
	if err != nil {
		return nil, err
	}
	return &namespacespb.GetResponse{Namespace: &namespacespb.Namespace{Id: n.Namespace, Owner: n.Owner, Created: n.CreatedAt.Unix()}}, nil
}

// List implements Namespaces.
func (s *Service) List(ctx context.Context, _ *namespacespb.ListNamespacesRequest) (*namespacespb.ListNamespacesResponse, error) {
	c, err := identity.Require(ctx)
	if err != nil {
		return nil, err
	}
	rsp := &namespacespb.ListNamespacesResponse{}
	own, err := s.db.member(ctx, c.Namespace, c.ID)
	if errors.Is(err, errNone) || err == nil && (c.Type != identity.User || c.Limited()) { // an API token knows its namespace only
		rsp.Memberships = []*namespacespb.Membership{{Namespace: c.Namespace, Role: string(own.Role), Account: c.ID, Current: true}}
		return rsp, nil
	}
	if err != nil {
		return nil, err
	}
	all, err := s.db.memberships(ctx, own.Mailbox)
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		rsp.Memberships = append(rsp.Memberships, &namespacespb.Membership{
			Namespace: m.Namespace, Role: string(m.Role), Account: m.Account, Since: m.Since.Unix(), Current: m.Namespace == c.Namespace,
		})
	}
	return rsp, nil
}

// Create implements Namespaces.
func (s *Service) Create(ctx context.Context, req *namespacespb.CreateNamespaceRequest) (*namespacespb.CreateNamespaceResponse, error) {
	own, err := s.callerMember(ctx)
	if err != nil {
		return nil, err
	}
	if err := checkName(req.GetName()); err != nil {
		return nil, err
	}
	if err := s.limits.create(ctx, own.Mailbox); err != nil {
		return nil, err
	}
	made, order, err := s.db.createFor(ctx, req.GetName(), own, s.opts.PerPerson)
	switch {
	case errors.Is(err, errTooMany):
		return nil, errors.New(codes.ResourceExhausted, "you own %d namespaces, which is the limit: delete one, or transfer it", s.opts.PerPerson)
	case errors.Is(err, errNameTaken):
		proposal, err := s.propose(ctx, req.GetName())
		if err != nil {
			return nil, err
		}
		return nil, errors.New(codes.AlreadyExists, "namespace %q is taken, %q is free", req.GetName(), proposal)
	case err != nil:
		return nil, err
	}
	if err := s.carryOutMembers(ctx, []memberOrder{order}); err != nil {
		return nil, err
	}
	return &namespacespb.CreateNamespaceResponse{Namespace: &namespacespb.Namespace{Id: made.Namespace, Owner: made.Owner, Created: made.CreatedAt.Unix()}}, nil
}

// Configure implements Namespaces.
func (s *Service) Configure(ctx context.Context, req *namespacespb.ConfigureRequest) (*namespacespb.ConfigureResponse, error) {
	name, err := changer(ctx, req.GetNamespace())
	if err != nil {
		return nil, err
	}
	orders, err := s.db.configure(ctx, name, req.GetRequireSecondFactor(), ownersOnly(ctx, name, "configure"))
	if errors.Is(err, errNone) {
		return nil, noNamespace(name)
	}
	if err != nil {
		return nil, err
	}
	return &namespacespb.ConfigureResponse{}, s.carryOutMembers(ctx, orders)
}
