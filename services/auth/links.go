package auth

import (
	"context"
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	authpb "github.com/micro/platform/proto/auth"
)

// linkID is how a link is called outside.
func linkID(l link) string {
	return base64.RawURLEncoding.EncodeToString([]byte(l.Provider + "\x00" + l.Subject))
}

func (s *Service) linkProto(l link) *authpb.Link {
	title := l.Provider // one that is not set up any more
	if e, err := s.external(l.Provider); err == nil {
		title = e.title
	}
	return &authpb.Link{Id: linkID(l), Provider: l.Provider, Title: title, Email: l.Email, Created: l.CreatedAt.Unix(), LastUsed: unix(l.UsedAt)}
}

// Links implements the RPC.
func (s providers) Links(ctx context.Context, _ *authpb.ListLinksRequest) (*authpb.ListLinksResponse, error) {
	a, err := s.callersPerson(ctx)
	if err != nil {
		return nil, err
	}
	list, err := s.db.links(ctx, a.Person)
	if err != nil {
		return nil, err
	}
	rsp := &authpb.ListLinksResponse{}
	for _, l := range list {
		rsp.Links = append(rsp.Links, s.linkProto(l))
	}
	return rsp, nil
}

// BeginLink implements the RPC.
func (s providers) BeginLink(ctx context.Context, req *authpb.BeginLinkRequest) (*authpb.BeginSignInResponse, error) {
	a, err := s.callersPerson(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.provePassword(ctx, a, req.GetPassword()); err != nil {
		return nil, err
	}
	return s.begin(ctx, req.GetProvider(), req.GetChallenge(), a.Person)
}

// Link implements the RPC.
func (s providers) Link(ctx context.Context, req *authpb.CompleteSignInRequest) (*authpb.LinkResponse, error) {
	a, err := s.callersPerson(ctx)
	if err != nil {
		return nil, err
	}
	flow, t, err := s.returned(ctx, req)
	if err != nil {
		return nil, err
	}
	if flow.Person != a.Person {
		return nil, errSignIn()
	}
	switch err := s.db.putLink(ctx, t, a.Person); err {
	case nil:
	case errLinked:
		return nil, errors.New(codes.AlreadyExists, "that account signs in somebody else here")
	default:
		return nil, err
	}
	l, err := s.db.link(ctx, t.Provider, t.Subject)
	return &authpb.LinkResponse{Link: s.linkProto(l)}, err
}

// Unlink implements the RPC.
func (s providers) Unlink(ctx context.Context, req *authpb.UnlinkRequest) (*authpb.UnlinkResponse, error) {
	a, err := s.callersPerson(ctx)
	if err != nil {
		return nil, err
	}
	b, _ := base64.RawURLEncoding.DecodeString(req.GetId())
	provider, subject, _ := strings.Cut(string(b), "\x00")
	found := false
	if utf8.Valid(b) && !strings.Contains(subject, "\x00") { // else it is nobody's
		if found, err = s.db.removeLink(ctx, a.Person, provider, subject); err != nil {
			return nil, err
		}
	}
	if !found {
		return nil, errors.New(codes.NotFound, "no linked account %q", errors.Clip(req.GetId()))
	}
	return &authpb.UnlinkResponse{}, nil
}

// ProveTicket implements the RPC.
func (s components) ProveTicket(ctx context.Context, req *authpb.ProveTicketRequest) (*authpb.ProveTicketResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	t, err := s.seeTicket(ctx, req.GetTicket(), req.GetVerifier())
	if err != nil {
		return nil, err
	}
	return &authpb.ProveTicketResponse{Email: t.Email, Login: &authpb.ExternalLogin{Provider: t.Provider, Subject: t.Subject, Email: t.Email}}, nil
}
