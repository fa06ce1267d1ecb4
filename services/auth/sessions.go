package auth

import (
	"context"
	"encoding/hex"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	authpb "github.com/micro/platform/proto/auth"
)

// Logout implements the RPC.
func (s tokens) Logout(ctx context.Context, req *authpb.LogoutRequest) (*authpb.LogoutResponse, error) {
	id, _, ok := s.refresh.open(req.GetRefreshToken())
	if !ok {
		return nil, errInvalidToken()
	}
	if err := s.db.endSession(ctx, id, s.lives()); err != nil && err != errNoSession {
		return nil, err
	}
	return &authpb.LogoutResponse{}, nil // also of a login that has ended before
}

// sessions is the API auth.Sessions.
type sessions struct {
	authpb.UnsafeSessionsServer
	*Service
}

// List implements the RPC.
func (s sessions) List(ctx context.Context, _ *authpb.ListSessionsRequest) (*authpb.ListSessionsResponse, error) {
	caller, err := identity.Require(ctx)
	if err != nil {
		return nil, err
	}
	list, err := s.db.listSessions(ctx, caller.Namespace, caller.ID)
	if err != nil {
		return nil, err
	}
	rsp := &authpb.ListSessionsResponse{}
	for _, x := range list {
		id := sessionText(x.ID)
		rsp.Sessions = append(rsp.Sessions, &authpb.Session{
			Id: id, Created: x.CreatedAt.Unix(), Renewed: x.RotatedAt.Unix(), Expires: x.ExpiresAt.Unix(), Current: id == caller.Session,
		})
	}
	return rsp, nil
}

// Revoke implements the RPC.
func (s sessions) Revoke(ctx context.Context, req *authpb.RevokeSessionRequest) (*authpb.RevokeSessionResponse, error) {
	caller, err := identity.Require(ctx)
	if err != nil {
		return nil, err
	}
	if req.GetOthers() == (req.GetId() != "") {
		return nil, errors.New(codes.InvalidArgument, "either id, or others is needed")
	}
	if req.GetOthers() {
		keep, _ := hex.DecodeString(caller.Session)
		return &authpb.RevokeSessionResponse{}, s.db.endOtherSessions(ctx, caller.Namespace, caller.ID, keep, s.lives())
	}
	id, err := hex.DecodeString(req.GetId())
	if err == nil {
		err = s.db.endSessionOf(ctx, caller.Namespace, caller.ID, id, s.lives())
	} else {
		err = errNoSession
	}
	if err == errNoSession {
		return nil, errors.New(codes.NotFound, "no login %q", errors.Clip(req.GetId()))
	}
	return &authpb.RevokeSessionResponse{}, err
}

// sessionText is how a login is called outside the database, and by its access
// tokens. It opens nothing: refresh tokens need the key, too.
func sessionText(id []byte) string { return hex.EncodeToString(id) }

// clocksDiffer is how much longer than its life a token may be accepted: the
// leeway, and once more for each of the clocks of who has issued it and who checks
// it, which are no more than that off Postgres'.
const clocksDiffer = 3 * identity.Leeway

// lives says how long access tokens of the types of account live at most, by the
// clock of Postgres.
type lives struct{ person, service time.Duration }

func (s *Service) lives() lives {
	return lives{s.opts.UserToken + clocksDiffer, s.opts.ServiceToken + clocksDiffer}
}

func (l lives) of(kind string) time.Duration {
	if kind == identity.Service {
		return l.service
	}
	return l.person
}
