package auth

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pause"
	authpb "github.com/micro/platform/proto/auth"
)

const (
	// keyNotice is how long a key is published before it signs. It is longer than
	// anybody may keep /.well-known/jwks.json.
	keyNotice = 10 * time.Minute
	// keyHaste is the same when the key in use is known to others: components fetch
	// keys at most once a second.
	keyHaste = 2 * time.Second
	// keyEvery is how often it is looked whether a key is due.
	keyEvery = 10 * time.Second
	// maxKeys bounds what every verifier fetches.
	maxKeys = 50
)

// keys is the API auth.Keys.
type keys struct {
	authpb.UnsafeKeysServer
	*Service
}

// List implements the RPC.
func (s keys) List(ctx context.Context, _ *authpb.ListKeysRequest) (*authpb.ListKeysResponse, error) {
	list, err := s.db.keys(ctx)
	if err != nil {
		return nil, err
	}
	rsp := &authpb.ListKeysResponse{}
	for _, k := range list {
		rsp.Keys = append(rsp.Keys, k.proto())
	}
	return rsp, nil
}

// Rotate implements the RPC.
func (s keys) Rotate(ctx context.Context, req *authpb.RotateKeyRequest) (*authpb.RotateKeyResponse, error) {
	if err := requireOperator(ctx); err != nil {
		return nil, err
	}
	list, err := s.db.keys(ctx)
	if err != nil {
		return nil, err
	}
	if len(list) >= maxKeys {
		return nil, errors.New(codes.FailedPrecondition, "there are %d keys, which is the limit: retire some with \"micro auth keys retire\"", len(list))
	}
	notice := keyNotice
	if req.GetNow() {
		notice = keyHaste
	}
	k, err := s.rotate(ctx, notice)
	if err != nil {
		return nil, err
	}
	caller, _ := identity.From(ctx)
	s.log.InfoContext(ctx, "signing key made", "key_id", k.GetId(), "account", caller.ID, "signs_at_once", req.GetNow())
	return &authpb.RotateKeyResponse{Key: k}, nil
}

// rotate makes the next key, and in haste waits until it signs. If there is a
// next key already, that is it.
func (s *Service) rotate(ctx context.Context, notice time.Duration) (*authpb.Key, error) {
	fresh, err := s.signer.generate()
	if err != nil {
		return nil, err
	}
	k, err := s.db.createNextKey(ctx, fresh, notice)
	if err != nil {
		return nil, err
	}
	if notice == keyHaste {
		if err := pause.For(ctx, notice); err != nil {
			return nil, err
		}
		if _, err := s.db.promoteKey(ctx, s.lives().service); err != nil {
			return nil, err
		}
		k.SignsFrom, k.Active = nil, true
	}
	return k.proto(), nil
}

// Retire implements the RPC.
func (s keys) Retire(ctx context.Context, req *authpb.RetireKeyRequest) (*authpb.RetireKeyResponse, error) {
	if err := requireOperator(ctx); err != nil {
		return nil, err
	}
	if err := checkID("id", req.GetId()); err != nil {
		return nil, err
	}
	switch err := s.db.retireKey(ctx, req.GetId()); err {
	case nil:
		caller, _ := identity.From(ctx)
		s.log.InfoContext(ctx, "signing key retired", "key_id", req.GetId(), "account", caller.ID)
		return &authpb.RetireKeyResponse{}, nil
	case errNoKey:
		return nil, errors.New(codes.NotFound, "no key %q", errors.Clip(req.GetId()))
	case errKeySigns:
		return nil, errors.New(codes.FailedPrecondition, "key %q signs: replace it first, with \"micro auth keys rotate --now\"", req.GetId())
	default:
		return nil, err
	}
}

func requireOperator(ctx context.Context) error {
	c, err := identity.Require(ctx)
	if err != nil {
		return err
	}
	if !c.Operator() {
		return errors.New(codes.PermissionDenied, "this is for the platform's operators only")
	}
	return nil
}

// keyLoop replaces the signing key when it is old, and has the next one sign
// when its time has come. Of several processes one does it.
func (s *Service) keyLoop(ctx context.Context) error {
	return app.Every(ctx, keyEvery, func() {
		if err := s.turnKeys(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "signing keys not looked after, trying again", "error", err)
		}
	})
}

func (s *Service) turnKeys(ctx context.Context) error {
	promoted, err := s.db.promoteKey(ctx, s.lives().service)
	if err != nil {
		return err
	}
	if promoted != "" {
		s.log.InfoContext(ctx, "another key signs", "key_id", promoted)
	}
	if err := s.db.pruneKeys(ctx); err != nil {
		return err
	}
	list, err := s.db.keys(ctx)
	if err != nil || s.opts.KeyAge <= 0 {
		return err
	}
	for _, k := range list {
		if k.SignsFrom != nil || k.Active && s.now().Sub(k.CreatedAt) < s.opts.KeyAge {
			return nil // there is a next one, or it is not time
		}
	}
	_, err = s.rotate(ctx, keyNotice)
	return err
}
