package config

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/seal"
)

// Sealed is what is sealed with the cluster secret: the keys of secrets, which
// are sealed with these.
func Sealed() []seal.Column {
	return []seal.Column{{
		What: "keys of secrets", Box: "config", Table: "config.keys", Key: []string{"id"}, Read: "keys", Write: "keys = $1",
		Owner: func([]any) string { return "" }, Reseal: (*seal.Box).ResealKeys,
	}}
}

// Check opens every secret that a restored database has, and answers how many
// there are.
func Check(ctx context.Context, pool *pgxpool.Pool, cluster seal.Cluster) (secrets int, err error) {
	box, err := seal.New(cluster, "config")
	if err != nil {
		return 0, err
	}
	v := &vault{db: db{pool}, box: box}
	for after := ""; ; {
		page, err := v.db.namespaces(ctx, after, rekeyPage)
		if err != nil {
			return secrets, err
		}
		for _, namespace := range page {
			after = namespace
			n, err := v.check(ctx, namespace)
			if err != nil {
				return secrets, err
			}
			secrets += n
		}
		if len(page) < rekeyPage {
			return secrets, nil
		}
	}
}

// check opens the secrets of a namespace.
func (v *vault) check(ctx context.Context, namespace string) (int, error) {
	doc, err := v.db.read(ctx, namespace)
	if errors.Code(err) == codes.NotFound {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	keys, err := v.use(sealedKeys{Version: doc.KeysVersion, Keys: doc.Keys})
	if err != nil {
		return 0, err
	}
	for path, sealed := range doc.Secrets {
		if _, err := openSecret(keys, namespace, path, sealed); err != nil {
			return 0, fmt.Errorf("secrets of %s: %w", namespace, err)
		}
	}
	return len(doc.Secrets), nil
}
