package config

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/seal"
	configpb "github.com/micro/platform/proto/config"
)

// rekeyPage is how many namespaces are listed at once.
const rekeyPage = 100

// Rekey implements Config. The new key is there before anything is sealed with
// it, and the old ones go when nothing is sealed with them, so secrets can be
// read all the time. One that was interrupted is taken up again by the next.
func (s *Service) Rekey(ctx context.Context, _ *configpb.RekeyRequest) (*configpb.RekeyResponse, error) {
	caller, err := identity.RequireLogin(ctx)
	if err != nil {
		return nil, err
	}
	if !caller.Operator() {
		return nil, errors.New(codes.PermissionDenied, "the keys are all namespaces': only operators may exchange them")
	}
	kept, err := s.db.keys(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := s.vault.box.OpenKeys(kept.Keys)
	if err != nil {
		return nil, fmt.Errorf("open the keys of secrets: %w", err)
	}
	if keys.Len() == 1 {
		if keys, err = keys.Add(); err != nil {
			return nil, err
		}
		if kept, err = s.replaceKeys(ctx, kept.Version, keys); err != nil {
			return nil, err
		}
	}
	n, err := s.reseal(ctx, keys)
	if err != nil {
		return nil, err
	}
	if keys, err = keys.Newest(); err != nil {
		return nil, err
	}
	if _, err := s.replaceKeys(ctx, kept.Version, keys); err != nil {
		return nil, err
	}
	return &configpb.RekeyResponse{Secrets: n}, nil
}

func (s *Service) replaceKeys(ctx context.Context, version int64, keys *seal.Keys) (sealedKeys, error) {
	sealed, err := s.vault.box.SealKeys(keys)
	if err != nil {
		return sealedKeys{}, err
	}
	kept, err := s.db.replaceKeys(ctx, version, sealed)
	if err != nil {
		return kept, err
	}
	_, err = s.vault.use(kept)
	return kept, err
}

// reseal seals the secrets of all namespaces with the newest key, and answers
// how many were not.
func (s *Service) reseal(ctx context.Context, keys *seal.Keys) (int64, error) {
	var n int64
	for after := ""; ; {
		page, err := s.db.namespaces(ctx, after, rekeyPage)
		if err != nil {
			return n, err
		}
		for _, ns := range page {
			after = ns
			err := s.db.reseal(ctx, ns, func(secrets map[string]secret) (bool, error) {
				changed, err := resealAll(keys, ns, secrets)
				n += int64(changed)
				return changed > 0, err
			})
			if err != nil {
				return n, fmt.Errorf("seal secrets of %s anew: %w", ns, err)
			}
		}
		if len(page) < rekeyPage {
			return n, nil
		}
	}
}

func resealAll(keys *seal.Keys, namespace string, secrets map[string]secret) (changed int, err error) {
	for path, old := range secrets {
		if keys.Sealed(old) {
			continue
		}
		text, err := keys.Open(old, owner(namespace, path))
		if err != nil {
			return changed, err
		}
		sealed, err := keys.Seal(text, owner(namespace, path))
		if err != nil {
			return changed, err
		}
		secrets[path] = sealed
		changed++
	}
	return changed, nil
}
