package seal

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// MACKey answers a component's key for digests. Digests cannot be made anew as
// sealed texts can, so this key stays when the cluster secret is exchanged: it is
// in table mac_keys of the component's schema, sealed. The first time it is the
// one that the cluster secret gives for the purpose.
func MACKey(ctx context.Context, pool *pgxpool.Pool, cluster Cluster, component, purpose string) ([]byte, error) {
	box, err := New(cluster, component)
	if err != nil {
		return nil, err
	}
	first, err := cluster.Keys(purpose)
	if err != nil {
		return nil, err
	}
	table := pgx.Identifier{component, "mac_keys"}.Sanitize()
	key, err := macKey(ctx, pool, box, table, purpose)
	if !errors.Is(err, pgx.ErrNoRows) {
		return key, err
	}
	_, err = pool.Exec(ctx, `INSERT INTO `+table+` (purpose, sealed) VALUES ($1, $2) ON CONFLICT DO NOTHING`, purpose, box.Seal(first[0], purpose))
	if err != nil {
		return nil, fmt.Errorf("keep key of %s: %w", purpose, err)
	}
	return macKey(ctx, pool, box, table, purpose) // another process may have been faster
}

func macKey(ctx context.Context, pool *pgxpool.Pool, box *Box, table, purpose string) ([]byte, error) {
	var sealed []byte
	if err := pool.QueryRow(ctx, `SELECT sealed FROM `+table+` WHERE purpose = $1`, purpose).Scan(&sealed); err != nil {
		return nil, fmt.Errorf("get key of %s: %w", purpose, err)
	}
	key, err := box.Open(sealed, purpose)
	if err != nil {
		return nil, fmt.Errorf("key of %s: %w", purpose, err)
	}
	return key, nil
}

// MACKeys is where a component keeps its keys for digests.
func MACKeys(component string) Column {
	return Column{
		What: "keys of digests", Box: component, Table: component + ".mac_keys", Key: []string{"purpose"},
		Read: "sealed", Write: "sealed = $1",
		Owner: func(key []any) string { return key[0].(string) },
	}
}
