package auth

import (
	"cmp"
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/certs"
	"github.com/micro/platform/internal/grants"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/password"
	"github.com/micro/platform/internal/pg"
	authpb "github.com/micro/platform/proto/auth"
)

// components is the API auth.Components.
type components struct {
	authpb.UnsafeComponentsServer
	*Service
}

// componentToken is how long a component's token lives.
const componentToken = time.Hour

// Token implements the RPC.
func (s components) Token(ctx context.Context, req *authpb.ComponentTokenRequest) (*authpb.TokenResponse, error) {
	if !s.cluster.Accepts(req.GetSecret()) {
		return nil, errors.New(codes.Unauthenticated, "the cluster secret is another one: MICRO_CLUSTER_SECRET must be the same in every process, or be MICRO_CLUSTER_SECRET_ALSO of auth")
	}
	if req.GetName() == "" || len(req.GetName()) > maxScope {
		return nil, errors.New(codes.InvalidArgument, "a component has a name of 1 to %d bytes", maxScope)
	}
	if peer, ok := certs.Peer(ctx); ok && peer != req.GetName() {
		return nil, errors.New(codes.PermissionDenied, "component %s has the certificate of %s", errors.Clip(req.GetName()), peer)
	}
	a := account{Namespace: identity.Platform, ID: req.GetName(), Name: req.GetName(), Type: identity.Component, Scopes: []string{}}
	now := s.now()
	return s.signer.answer(access{account: a, issued: now, expires: now.Add(componentToken)}, "")
}

// CreateOwner implements the RPC.
func (s components) CreateOwner(ctx context.Context, req *authpb.CreateOwnerRequest) (*authpb.CreateOwnerResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	a := s.wanted(req.GetNamespace(), &authpb.GenerateRequest{Id: req.GetId(), Name: req.GetName()})
	a.Secret, a.Owner, a.Person = req.GetPasswordHash(), true, cmp.Or(req.GetMailbox(), req.GetId())
	if a.ID == "" {
		return nil, errors.New(codes.InvalidArgument, "ID required")
	}
	if err := checkAccount(a); err != nil {
		return nil, err
	}
	a.Scopes = scopesFor(grants.Owner, nil)
	if err := password.CheckHash(a.Secret); err != nil {
		return nil, errors.New(codes.InvalidArgument, "password_hash: %v", err)
	}
	err := s.db.createOwner(ctx, a, ticket{Provider: req.GetLogin().GetProvider(), Subject: req.GetLogin().GetSubject(), Email: req.GetLogin().GetEmail()})
	if err != errIDTaken && err != errNameTaken && err != errPersonTaken && err != errLinked {
		return &authpb.CreateOwnerResponse{}, err
	}
	old, err := s.db.account(ctx, a.Namespace, a.ID)
	if err != nil && err != errNoAccount {
		return nil, err
	}
	if old.Owner { // made before, perhaps by a process that died after it
		return &authpb.CreateOwnerResponse{}, nil
	}
	return nil, errors.New(codes.AlreadyExists, "account %q exists, or belongs to somebody who has an account elsewhere", a.ID)
}

// Watch implements the RPC.
func (s components) Watch(_ *authpb.WatchRequest, stream grpc.ServerStreamingServer[authpb.Change]) error {
	ctx := stream.Context()
	if err := identity.RequireComponent(ctx); err != nil {
		return err
	}
	return s.changes.feed.Serve(ctx, s.changes.snapshot, stream.Send)
}

// Erase implements the RPC.
func (s components) Erase(ctx context.Context, req *authpb.EraseRequest) (*authpb.EraseResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	if err := checkNamespace(req.GetNamespace()); err != nil {
		return nil, err
	}
	lives := s.lives()
	removed, err := s.db.eraseAccounts(ctx, req.GetNamespace(), max(lives.person, lives.service))
	if err != nil || removed == erasePage {
		return &authpb.EraseResponse{}, err
	}
	done, err := pg.Erase(ctx, s.db.pool, "auth", req.GetNamespace(), erasePage, "erased")
	return &authpb.EraseResponse{Done: done}, err
}
