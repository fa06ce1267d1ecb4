package builder

import (
	"context"

	"github.com/micro/platform/internal/identity"
	builderpb "github.com/micro/platform/proto/builder"
)

// attemptsPage is how many attempts that have ended one answer has.
const attemptsPage = 1000

// Attempts implements the RPC.
func (s *Service) Attempts(ctx context.Context, req *builderpb.AttemptsRequest) (*builderpb.AttemptsResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	if err := s.db.forgetAttempts(ctx, req.GetCounted()); err != nil {
		return nil, err
	}
	all, err := s.db.attempts(ctx, attemptsPage)
	return &builderpb.AttemptsResponse{Attempts: all}, err
}
