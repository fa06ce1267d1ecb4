package main

import (
	"context"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	authpb "github.com/micro/platform/proto/auth"
)

// Logout knows the login that Token made.
func (f *fakePlatform) Logout(_ context.Context, req *authpb.LogoutRequest) (*authpb.LogoutResponse, error) {
	if req.GetRefreshToken() != "r" {
		return nil, errors.New(codes.Internal, "not the token of the login")
	}
	return &authpb.LogoutResponse{}, nil
}

// fakeTokens knows one API token, that of a website.
type fakeTokens struct {
	authpb.UnimplementedTokensServer
}

var website = &authpb.ApiToken{Id: "t1", Name: "website", Account: "jane@example.com", Grants: []string{"notes:*:read"},
	Created: 1_800_000_000, Expires: 1_807_776_000}

func (fakeTokens) Create(_ context.Context, req *authpb.CreateTokenRequest) (*authpb.CreateTokenResponse, error) {
	t := &authpb.ApiToken{Id: "t1", Name: req.GetName(), Grants: req.GetGrants(), Created: 1_800_000_000}
	if !req.GetNeverExpires() {
		t.Expires = t.Created + req.GetExpiresIn()
	}
	return &authpb.CreateTokenResponse{Secret: "mtk_secret", Token: t}, nil
}

func (fakeTokens) List(ctx context.Context, _ *authpb.ListTokensRequest) (*authpb.ListTokensResponse, error) {
	return &authpb.ListTokensResponse{Tokens: []*authpb.ApiToken{website}}, loggedIn(ctx)
}

func (fakeTokens) Revoke(_ context.Context, req *authpb.RevokeTokenRequest) (*authpb.RevokeTokenResponse, error) {
	if req.GetId() != "website" {
		return nil, errors.New(codes.NotFound, "no API token %q", req.GetId()).From("auth.Tokens.Revoke")
	}
	return &authpb.RevokeTokenResponse{}, nil
}

type fakeSessions struct {
	authpb.UnimplementedSessionsServer
}

func (fakeSessions) List(ctx context.Context, _ *authpb.ListSessionsRequest) (*authpb.ListSessionsResponse, error) {
	return &authpb.ListSessionsResponse{Sessions: []*authpb.Session{{Id: "s1", Created: 1_800_000_000, Renewed: 1_800_000_060, Expires: 1_802_592_000, Current: true}}}, loggedIn(ctx)
}

func (fakeSessions) Revoke(_ context.Context, req *authpb.RevokeSessionRequest) (*authpb.RevokeSessionResponse, error) {
	if !req.GetOthers() && req.GetId() != "s1" {
		return nil, errors.New(codes.NotFound, "no login %q", req.GetId()).From("auth.Sessions.Revoke")
	}
	return &authpb.RevokeSessionResponse{}, nil
}

type fakeKeys struct {
	authpb.UnimplementedKeysServer
}

func (fakeKeys) List(context.Context, *authpb.ListKeysRequest) (*authpb.ListKeysResponse, error) {
	return &authpb.ListKeysResponse{Keys: []*authpb.Key{
		{Id: "k3", Created: 1_800_000_000, SignsFrom: 1_800_000_600}, {Id: "k2", Created: 1_790_000_000, Signs: true}, {Id: "k1", Created: 1_780_000_000, Expires: 1_820_000_000},
	}}, nil
}

func (fakeKeys) Rotate(_ context.Context, req *authpb.RotateKeyRequest) (*authpb.RotateKeyResponse, error) {
	k := &authpb.Key{Id: "k3", SignsFrom: 1_800_000_600}
	if req.GetNow() {
		k = &authpb.Key{Id: "k3", Signs: true}
	}
	return &authpb.RotateKeyResponse{Key: k}, nil
}

func (fakeKeys) Retire(_ context.Context, req *authpb.RetireKeyRequest) (*authpb.RetireKeyResponse, error) {
	return nil, errors.New(codes.FailedPrecondition, "key %q signs", req.GetId()).From("auth.Keys.Retire")
}

type fakePasswords struct {
	authpb.UnimplementedPasswordsServer
}

func (fakePasswords) BeginReset(context.Context, *authpb.BeginResetRequest) (*authpb.BeginResetResponse, error) {
	return &authpb.BeginResetResponse{ExpiresIn: 900}, nil
}

func (fakePasswords) Reset(_ context.Context, req *authpb.ResetRequest) (*authpb.ResetResponse, error) {
	if req.GetCode() != "ABCD2345" {
		return nil, errors.New(codes.InvalidArgument, "the code is not valid or has expired").From("auth.Passwords.Reset")
	}
	return &authpb.ResetResponse{}, nil
}

// fakeRules has one rule, which lets the accounts of the namespace in.
type fakeRules struct {
	authpb.UnimplementedRulesServer
}

func (fakeRules) Explain(ctx context.Context, req *authpb.ExplainRequest) (*authpb.ExplainResponse, error) {
	rsp := &authpb.ExplainResponse{Allowed: req.GetAccount() != "", Reason: "rule \"default\" grants it"}
	rsp.Checks = []*authpb.Check{{Name: "rules", Passed: rsp.Allowed, Detail: rsp.Reason}}
	rsp.Rules = []*authpb.RuleCheck{{Decides: rsp.Allowed, Detail: "asked", Rule: &authpb.Rule{Id: "default", Scope: "*", Access: authpb.Access_GRANTED,
		Resource: &authpb.Resource{Type: "*", Name: "*", Endpoint: "*"}}}}
	return rsp, loggedIn(ctx)
}
