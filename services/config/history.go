package config

import (
	"context"
	"math"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	configpb "github.com/micro/platform/proto/config"
)

// maxListed bounds an answer of History.
const maxListed = 100

// History implements Config.
func (s *Service) History(ctx context.Context, req *configpb.HistoryRequest) (*configpb.HistoryResponse, error) {
	ns, err := identity.Member(ctx, req.GetNamespace())
	if err != nil {
		return nil, err
	}
	before, limit := req.GetBefore(), req.GetLimit()
	if before < 0 || limit < 0 || limit > maxListed {
		return nil, invalid("before is at least 0 and limit from 0 to %d", maxListed)
	}
	if before == 0 {
		before = math.MaxInt64
	}
	if limit == 0 {
		limit = maxListed
	}
	found, err := s.db.history(ctx, ns, before, int(limit))
	if err != nil {
		return nil, err
	}
	rsp := &configpb.HistoryResponse{}
	for _, r := range found {
		rsp.Versions = append(rsp.Versions, &configpb.Version{
			Version: r.Version, Action: r.Action, Path: r.Path, Account: r.Account, AccountName: r.AccountName,
			Created: r.CreatedAt.Unix(), Restored: r.Restored,
		})
	}
	return rsp, nil
}

// Rollback implements Config. Secrets come back with the rest.
func (s *Service) Rollback(ctx context.Context, req *configpb.RollbackRequest) (*configpb.RollbackResponse, error) {
	c, err := s.change(ctx, "rollback", req.GetNamespace(), "", req.GetExpectedVersion())
	if err != nil {
		return nil, err
	}
	if caller, _ := identity.From(ctx); caller.Type == identity.Service {
		return nil, errors.New(codes.PermissionDenied, "a service may not roll the config back: a person with the scope admin may")
	}
	if req.GetVersion() < 1 {
		return nil, invalid("version %d: versions begin with 1", req.GetVersion())
	}
	c.record.Restored = req.GetVersion()
	c.apply = func(ctx context.Context, tx tx, d document) error {
		old, err := tx.version(ctx, c.namespace, req.GetVersion())
		if err != nil {
			return err
		}
		was, err := old.load()
		if err != nil {
			return err
		}
		clear(d)
		for key, v := range was {
			d[key] = v
		}
		return nil
	}
	version, err := s.db.change(ctx, c)
	if err != nil {
		return nil, err
	}
	return &configpb.RollbackResponse{Version: version}, nil
}
