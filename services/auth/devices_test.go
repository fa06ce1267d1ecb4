package auth

import (
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	authpb "github.com/micro/platform/proto/auth"
)

// TestDevice logs a terminal in from the console.
func TestDevice(t *testing.T) {
	t.Parallel()
	p := setupPasskeys(t)
	begun, err := p.devices.Begin(t.Context(), &authpb.BeginDeviceRequest{})
	if err != nil {
		t.Fatal(err)
	}
	token := func() (*authpb.TokenResponse, error) {
		return p.devices.Token(t.Context(), &authpb.DeviceTokenRequest{DeviceCode: begun.GetDeviceCode()})
	}
	if _, err := token(); errors.FromError(err) == nil || errors.FromError(err).Reason != identity.AuthorizationPending {
		t.Errorf("before it is approved: %v, want %s", err, identity.AuthorizationPending)
	}
	ctx := p.asOwner(t)
	approve := &authpb.ApproveDeviceRequest{Code: " " + begun.GetUserCode() + " "}
	if _, err := p.devices.Approve(t.Context(), approve); errors.Code(err) != codes.Unauthenticated {
		t.Errorf("nobody approves: %v, want Unauthenticated", err)
	}
	if _, err := p.devices.Approve(ctx, &authpb.ApproveDeviceRequest{Code: "AAAA-AAAA"}); errors.Code(err) != codes.NotFound {
		t.Errorf("a code of none: %v, want NotFound", err)
	}
	if rsp, err := p.devices.Get(ctx, &authpb.GetDeviceRequest{Code: begun.GetUserCode()}); err != nil || rsp.GetCreated() == 0 {
		t.Errorf("Get = %v, %v", rsp, err)
	}
	if _, err := p.devices.Approve(ctx, approve); err != nil {
		t.Fatal(err)
	}
	if _, err := p.devices.Approve(ctx, approve); errors.Code(err) != codes.NotFound {
		t.Errorf("approving again: %v, want NotFound", err)
	}
	rsp, err := token()
	if err != nil || claims(t, rsp.GetToken().GetAccessToken()).Subject != p.owner {
		t.Fatalf("Token = %v, %v", rsp, err)
	}
	if _, err := token(); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("for the second time: %v, want InvalidArgument", err)
	}
}

// TestDeviceOfChangedPassword: whoever took the approval before the password was
// changed gets nothing after it.
func TestDeviceOfChangedPassword(t *testing.T) {
	t.Parallel()
	p := setupPasskeys(t)
	begun, err := p.devices.Begin(t.Context(), &authpb.BeginDeviceRequest{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := p.asOwner(t)
	if _, err := p.devices.Approve(ctx, &authpb.ApproveDeviceRequest{Code: begun.GetUserCode()}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.accounts.ChangeSecret(ctx, &authpb.ChangeSecretRequest{Id: p.owner, OldSecret: p.password, NewSecret: "another password"}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.devices.Token(t.Context(), &authpb.DeviceTokenRequest{DeviceCode: begun.GetDeviceCode()}); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("after the password changed: %v, want InvalidArgument", err)
	}
}
