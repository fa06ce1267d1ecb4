package auth

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/micro/platform/internal/mail"
	"github.com/micro/platform/internal/seal"
)

// Sealed is what is sealed with the cluster secret.
func Sealed() []seal.Column {
	return []seal.Column{
		{What: "signing keys", Box: "auth", Table: "auth.keys", Key: []string{"id"}, Read: "private", Write: "private = $1",
			Owner: func(k []any) string { return keyOwner(k[0].(string)) }},
		{What: "second factors", Box: "auth", Table: "auth.people", Key: []string{"mailbox"}, Read: "factor", Write: "factor = $1",
			Owner: func(k []any) string { return factorOwner(k[0].(string)) }},
		seal.MACKeys("auth"),
		mail.Sealed("auth"),
	}
}

// Check opens the key that signs tokens in a restored database, if it has one
// yet.
func Check(ctx context.Context, pool *pgxpool.Pool, cluster seal.Cluster) error {
	s, err := newSigner(db{pool}, cluster)
	if err != nil {
		return err
	}
	if err := s.load(ctx); err != errNoKey {
		return err
	}
	return nil
}
