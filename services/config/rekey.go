package config

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/seal"
	configpb "github.com/micro/platform/proto/config"
)

const (
	// rekeyPage is how many namespaces are listed at once.
	rekeyPage = 100
	// rekeyTime is when a Rekey answers at the latest, but for the namespace
	// that it is at. Calls have a minute.
	rekeyTime = 20 * time.Second
)

// Rekey implements Config. The new key is there before anything is sealed with
// it, and the old ones go when nothing is sealed with them, so secrets can be
// read all the time. How far it has come is kept: the next call goes on from there,
// also after one that was interrupted.
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
	n, done, err := s.reseal(ctx, kept, keys)
	if err != nil {
		return nil, err
	}
	if !done {
		return &configpb.RekeyResponse{Secrets: n, More: true}, nil
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

// reseal seals the secrets of namespaces with the newest key, for a while. It
// answers how many were not, and whether all are now. What is written meanwhile
// is sealed with that key already.
func (s *Service) reseal(ctx context.Context, kept sealedKeys, keys *seal.Keys) (n int64, done bool, err error) {
	end := time.Now().Add(s.rekeyTime)
	for after := kept.Resealed; ; {
		page, err := s.db.namespaces(ctx, after, rekeyPage)
		if err != nil {
			return n, false, err
		}
		for _, ns := range page {
			changed, err := s.resealOne(ctx, keys, ns)
			if err != nil {
				return n, false, err
			}
			n += changed
			after = ns
			if time.Now().After(end) {
				return n, false, s.db.resealedTo(ctx, kept.Version, after)
			}
		}
		if len(page) < rekeyPage {
			return n, true, nil
		}
		if err := s.db.resealedTo(ctx, kept.Version, after); err != nil {
			return n, false, err
		}
	}
}

func (s *Service) resealOne(ctx context.Context, keys *seal.Keys, namespace string) (n int64, err error) {
	err = s.db.reseal(ctx, namespace, func(secrets map[string]secret) (bool, error) {
		changed, err := resealAll(keys, namespace, secrets)
		n += int64(changed)
		return changed > 0, err
	})
	if errors.Code(err) == codes.NotFound { // it was erased meanwhile
		return 0, nil
	}
	if err != nil {
		return n, fmt.Errorf("seal secrets of %s anew: %w", namespace, err)
	}
	return n, nil
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
