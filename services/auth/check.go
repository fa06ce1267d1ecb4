package auth

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/micro/platform/internal/settings"
)

// Check opens the key that signs tokens in a restored database, if it has one
// yet.
func Check(ctx context.Context, pool *pgxpool.Pool, cluster settings.Secret) error {
	s, err := newSigner(db{pool}, cluster)
	if err != nil {
		return err
	}
	if err := s.load(ctx); err != errNoKey {
		return err
	}
	return nil
}
