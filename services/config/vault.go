package config

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/seal"
)

// vault opens and seals secrets. The keys may be exchanged by any process at
// any time.
type vault struct {
	db  db
	box *seal.Box

	mu      sync.Mutex
	version int64
	keys    *seal.Keys
}

// prepare makes the first keys of a cluster.
func (v *vault) prepare(ctx context.Context) error {
	keys, err := seal.NewKeys()
	if err != nil {
		return err
	}
	sealed, err := v.box.SealKeys(keys)
	if err != nil {
		return err
	}
	if err := v.db.firstKeys(ctx, sealed); err != nil {
		return err
	}
	_, err = v.reload(ctx)
	return err
}

func (v *vault) reload(ctx context.Context) (*seal.Keys, error) {
	kept, err := v.db.keys(ctx)
	if err != nil {
		return nil, err
	}
	return v.use(kept)
}

// use opens keys as they are kept, and keeps the newest that it opened.
func (v *vault) use(kept sealedKeys) (*seal.Keys, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.keys != nil && kept.Version == v.version {
		return v.keys, nil
	}
	keys, err := v.box.OpenKeys(kept.Keys)
	if err != nil {
		return nil, fmt.Errorf("open the keys of secrets: %w", err)
	}
	if kept.Version > v.version {
		v.version, v.keys = kept.Version, keys
	}
	return keys, nil
}

func owner(namespace, path string) string { return namespace + "/" + path }

// openSecret answers a secret as the value that it was.
func openSecret(keys *seal.Keys, namespace, path string, sealed secret) (any, error) {
	text, err := keys.Open(sealed, owner(namespace, path))
	if err != nil {
		return nil, fmt.Errorf("open secret %s: %w", owner(namespace, path), err)
	}
	return decode(text)
}

// sealer seals the leaves of one change; without keys it leaves them plain.
type sealer struct {
	namespace string
	keys      *seal.Keys
	err       error
}

// sealer answers one that is good until tx ends.
func (v *vault) sealer(ctx context.Context, tx tx, namespace string) (*sealer, error) {
	kept, err := tx.holdKeys(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := v.use(kept)
	return &sealer{namespace: namespace, keys: keys}, err
}

func (s *sealer) leaf(path string, leaf any) any {
	if s.keys == nil {
		return leaf
	}
	text, err := encode(leaf)
	if err == nil {
		var sealed []byte
		if sealed, err = s.keys.Seal(text, owner(s.namespace, path)); err == nil {
			return secret(sealed)
		}
	}
	s.err = errors.Join(s.err, err)
	return nil
}

func dotted(keys []string) string { return strings.Join(keys, ".") }
