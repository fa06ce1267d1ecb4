package auth

import (
	"context"
	"crypto/rand"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/abuse"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/passcode"
	"github.com/micro/platform/internal/rpc"
	authpb "github.com/micro/platform/proto/auth"
)

const (
	deviceLife     = 10 * time.Minute
	deviceInterval = 2 * time.Second
)

// devices is the API auth.Devices.
type devices struct {
	authpb.UnsafeDevicesServer
	*Service
}

// device is a terminal that waits to be logged in.
type device struct {
	Address string
	Created int64
	// Who approved, and under which epoch; empty until then.
	Namespace, Account string
	Epoch              int64
}

// Begin implements the RPC.
func (s devices) Begin(ctx context.Context, _ *authpb.BeginDeviceRequest) (*authpb.BeginDeviceResponse, error) {
	if s.opts.Console == "" {
		return nil, errors.New(codes.FailedPrecondition, "the server does not say where its console is: MICRO_AUTH_CONSOLE")
	}
	if err := s.bound(ctx, "device"); err != nil {
		return nil, err
	}
	name, code := rand.Text(), passcode.New()
	d := device{Address: rpc.OriginOf(ctx).Address, Created: s.now().Unix()}
	if err := s.pending.put(ctx, "device", name, d, deviceLife); err != nil {
		return nil, err
	}
	if err := s.pending.put(ctx, "user code", code, name, deviceLife); err != nil {
		return nil, err
	}
	return &authpb.BeginDeviceResponse{
		DeviceCode: name, UserCode: code[:passcode.Length/2] + "-" + code[passcode.Length/2:], Address: s.opts.Console + "/#device",
		ExpiresIn: int64(deviceLife / time.Second), Interval: int64(deviceInterval / time.Second),
	}, nil
}

// shown finds the terminal that shows a code.
func (s devices) shown(ctx context.Context, typed string) (a account, name string, d device, err error) {
	if a, err = s.callersPerson(ctx); err != nil {
		return a, "", d, err
	}
	err = s.resets.Take(ctx, []abuse.Limit{{Kind: "user code", Subject: a.Person, Times: 20, Within: deviceLife, Reason: "too many attempts"}})
	if err != nil {
		return a, "", d, err
	}
	err = errNotPending
	if code, ok := passcode.Parse(typed); ok {
		err = s.pending.see(ctx, "user code", code, &name)
	}
	if err == nil {
		err = s.pending.see(ctx, "device", name, &d)
	}
	if err == errNotPending {
		err = errors.New(codes.NotFound, "no terminal shows the code %q: run \"micro login --with browser\" again", errors.Clip(typed))
	}
	return a, name, d, err
}

// Get implements the RPC.
func (s devices) Get(ctx context.Context, req *authpb.GetDeviceRequest) (*authpb.GetDeviceResponse, error) {
	_, _, d, err := s.shown(ctx, req.GetCode())
	return &authpb.GetDeviceResponse{Address: d.Address, Created: d.Created}, err
}

// Approve implements the RPC.
func (s devices) Approve(ctx context.Context, req *authpb.ApproveDeviceRequest) (*authpb.ApproveDeviceResponse, error) {
	a, name, d, err := s.shown(ctx, req.GetCode())
	if err != nil {
		return nil, err
	}
	code, _ := passcode.Parse(req.GetCode()) // it was found
	if err := s.pending.take(ctx, "user code", code, &name); err != nil {
		return nil, errors.New(codes.NotFound, "the code was used before")
	}
	d.Namespace, d.Account, d.Epoch = a.Namespace, a.ID, a.Epoch
	return &authpb.ApproveDeviceResponse{}, s.pending.change(ctx, "device", name, d)
}

// Token implements the RPC.
func (s devices) Token(ctx context.Context, req *authpb.DeviceTokenRequest) (*authpb.TokenResponse, error) {
	var d device
	err := s.pending.see(ctx, "device", req.GetDeviceCode(), &d)
	if err == nil && d.Account == "" {
		return nil, errors.New(codes.FailedPrecondition, "nobody has typed the code yet").For(identity.AuthorizationPending)
	}
	if err == nil {
		err = s.pending.take(ctx, "device", req.GetDeviceCode(), &d)
	}
	if err == errNotPending {
		return nil, errors.New(codes.InvalidArgument, "the code has expired, or was used before: begin again")
	}
	if err != nil {
		return nil, err
	}
	a, err := s.db.account(ctx, d.Namespace, d.Account)
	if err == errNoAccount || err == nil && a.Epoch != d.Epoch {
		return nil, errors.New(codes.InvalidArgument, "the account has changed in the meantime: begin again")
	}
	if err != nil {
		return nil, err
	}
	return s.open(ctx, a, 0)
}
