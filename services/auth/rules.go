package auth

import (
	"context"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/rules"
	authpb "github.com/micro/platform/proto/auth"
)

// ruleBook is the API auth.Rules. The default rule of a namespace is stored
// together with the first other one, so that it can be deleted from then on.
type ruleBook struct {
	authpb.UnsafeRulesServer
	*Service
}

// defaultRule is what holds in a namespace without rules.
func defaultRule(namespace string, publicPlatform bool) *authpb.Rule {
	if namespace == identity.Platform && publicPlatform {
		return rules.DefaultPublic()
	}
	return rules.Default()
}

// Create implements the RPC.
func (s ruleBook) Create(ctx context.Context, req *authpb.CreateRequest) (*authpb.CreateResponse, error) {
	namespace, err := s.may(ctx, req.GetOptions())
	if err != nil {
		return nil, err
	}
	if err := checkRule(req.GetRule()); err != nil {
		return nil, err
	}
	switch err := s.db.createRule(ctx, namespace, req.GetRule(), defaultRule(namespace, s.opts.PublicPlatform), s.opts.MaxRules); err {
	case nil:
		return &authpb.CreateResponse{}, nil
	case errIDTaken:
		return nil, errors.New(codes.InvalidArgument, "A rule with this ID already exists")
	case errTooMany:
		return nil, errors.New(codes.ResourceExhausted, "the namespace has %d rules, which is the limit", s.opts.MaxRules)
	default:
		return nil, err
	}
}

// Delete implements the RPC.
func (s ruleBook) Delete(ctx context.Context, req *authpb.DeleteRequest) (*authpb.DeleteResponse, error) {
	namespace, err := s.may(ctx, req.GetOptions())
	if err != nil {
		return nil, err
	}
	if req.GetId() == "" {
		return nil, errors.New(codes.InvalidArgument, "ID missing")
	}
	found, err := s.db.deleteRule(ctx, namespace, req.GetId())
	switch {
	case err != nil:
		return nil, err
	case !found && req.GetId() == rules.DefaultID:
		return nil, errors.New(codes.InvalidArgument, "rule %q holds while the namespace has no other: create one first", rules.DefaultID)
	case !found:
		return nil, errors.New(codes.InvalidArgument, "Rule not found")
	}
	return &authpb.DeleteResponse{}, nil
}

// may answers the namespace of a change.
func (s ruleBook) may(ctx context.Context, o *authpb.Options) (string, error) {
	namespace, err := identity.Admin(ctx, o.GetNamespace())
	if err != nil {
		return "", err
	}
	return namespace, checkNamespace(namespace)
}

// List implements the RPC.
func (s ruleBook) List(ctx context.Context, req *authpb.ListRequest) (*authpb.ListResponse, error) {
	namespace, err := identity.Member(ctx, req.GetOptions().GetNamespace())
	if err != nil {
		return nil, err
	}
	list, err := s.db.listRules(ctx, namespace)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		list = append(list, defaultRule(namespace, s.opts.PublicPlatform))
	}
	return &authpb.ListResponse{Rules: rules.Sort(list)}, nil
}
