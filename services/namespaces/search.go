package namespaces

import (
	"cmp"
	"context"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	namespacespb "github.com/micro/platform/proto/namespaces"
)

// maxSearch bounds the text that is searched for, in bytes.
const maxSearch = 256

// Search implements Namespaces.
func (s *Service) Search(ctx context.Context, req *namespacespb.SearchRequest) (*namespacespb.SearchResponse, error) {
	c, err := identity.Require(ctx)
	if err != nil {
		return nil, err
	}
	if !c.Operator() {
		return nil, operatorsOnly()
	}
	if n := len(req.GetText()); n > maxSearch {
		return nil, errors.New(codes.InvalidArgument, "text has %d bytes, at most %d are allowed", n, maxSearch)
	}
	limit, err := page(req.GetLimit())
	if err != nil {
		return nil, err
	}
	found, err := s.db.search(ctx, req.GetText(), req.GetAfter(), limit)
	if err != nil {
		return nil, err
	}
	rsp := &namespacespb.SearchResponse{}
	for _, f := range found {
		rsp.Namespaces = append(rsp.Namespaces, &namespacespb.Found{
			Namespace: f.Namespace, Owner: f.Owner, Plan: cmp.Or(f.Plan, s.tenants.standard.ID), Created: f.CreatedAt.Unix(),
			Suspended: f.SuspendedFor, State: states[f.State],
		})
	}
	return rsp, nil
}
