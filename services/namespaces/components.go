package namespaces

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	namespacespb "github.com/micro/platform/proto/namespaces"
)

// components is the API namespaces.Components.
type components struct {
	namespacespb.UnsafeComponentsServer
	*Service
}

// GetTenant implements the RPC.
func (s components) GetTenant(ctx context.Context, req *namespacespb.GetTenantRequest) (*namespacespb.Tenant, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	return s.tenant(ctx, req.GetNamespace())
}

// maxService is in bytes.
const maxService = 128

// SetThrottle implements the RPC.
func (s components) SetThrottle(ctx context.Context, req *namespacespb.SetThrottleRequest) (*namespacespb.SetThrottleResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	if len(req.GetService()) > maxService {
		return nil, errors.New(codes.InvalidArgument, "service: at most %d bytes", maxService)
	}
	switch req.GetAction() {
	case namespacespb.Action_NONE:
	case namespacespb.Action_SLOW, namespacespb.Action_STOP:
		if err := checkReason(req.GetReason()); err != nil {
			return nil, err
		}
	default:
		return nil, errors.New(codes.InvalidArgument, "action: %d is none of NONE, SLOW, STOP", req.GetAction())
	}
	if !nameRule.MatchString(req.GetNamespace()) {
		return nil, noNamespace(req.GetNamespace())
	}
	found, err := s.db.throttle(ctx, req.GetNamespace(), throttleRow{Service: req.GetService(), Action: int16(req.GetAction()), Reason: req.GetReason()})
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, noNamespace(req.GetNamespace())
	}
	return &namespacespb.SetThrottleResponse{}, nil
}

// Watch implements the RPC.
func (s components) Watch(_ *namespacespb.WatchRequest, stream grpc.ServerStreamingServer[namespacespb.Change]) error {
	ctx := stream.Context()
	if err := identity.RequireComponent(ctx); err != nil {
		return err
	}
	return s.tenants.feed.Serve(ctx, s.tenants.snapshot, stream.Send)
}
