package pg

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/micro/platform/internal/rpc"
	"github.com/micro/platform/internal/seal"
	"github.com/micro/platform/internal/settings"
)

// maxConns bounds the connections of one component in one process. Postgres'
// default is 100 for all.
const maxConns = 10

// params are settings of every session. Those of TCP are what Postgres does at its
// end: it closes the session of a host that it has not heard of for 5 s, and with
// it go the locks. Without them that takes more than two hours.
var params = map[string]string{
	"statement_timeout":                   "15s",
	"lock_timeout":                        "10s",
	"idle_in_transaction_session_timeout": "30s",
	"tcp_keepalives_idle":                 "1",
	"tcp_keepalives_interval":             "1",
	"tcp_keepalives_count":                "4",
	"tcp_user_timeout":                    "5s",
}

// Open makes a pool that logs in as the role of a component. url is the
// administrator's; the role's password is derived from the cluster secret, so
// that a component needs nothing else.
func Open(ctx context.Context, url string, cluster seal.Cluster, component string) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("MICRO_POSTGRES_URL: %w", err)
	}
	cfg.ConnConfig.User = Role(component)
	cfg.ConnConfig.Password = rolePassword(cluster.Secret, component)
	if cluster.Also != "" {
		cfg.BeforeConnect = eitherPassword(rolePassword(cluster.Also, component))
	}
	maps.Copy(cfg.ConnConfig.RuntimeParams, params)
	cfg.ConnConfig.RuntimeParams["application_name"] = "micro " + component
	cfg.ConnConfig.RuntimeParams["search_path"] = component
	cfg.ConnConfig.DialFunc = rpc.DialDatabase
	cfg.ConnConfig.Tracer = otelpgx.NewTracer()
	cfg.MaxConns = maxConns
	cfg.MaxConnIdleTime = 5 * time.Minute
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open database of %s: %w", component, err)
	}
	return pool, nil
}

// Role is the Postgres role of a component.
func Role(component string) string { return "micro_" + component }

func rolePassword(secret settings.Secret, component string) string {
	mac := hmac.New(sha256.New, []byte(secret.Reveal()))
	mac.Write([]byte("postgres role " + component))
	return hex.EncodeToString(mac.Sum(nil))
}

// wrongPassword is the SQLSTATE of a login that is refused.
const wrongPassword = "28P01"

// eitherPassword has a connection use another password if its own is refused: a
// role has one password, which another process may have set to that of the other
// cluster secret, or not yet. It costs a connection more for each.
func eitherPassword(other string) func(context.Context, *pgx.ConnConfig) error {
	return func(ctx context.Context, cfg *pgx.ConnConfig) error {
		conn, err := pgx.ConnectConfig(ctx, cfg.Copy())
		if err == nil {
			return conn.Close(ctx)
		}
		var refused *pgconn.PgError
		if errors.As(err, &refused) && refused.Code == wrongPassword {
			cfg.Password = other
		}
		return nil // what else is wrong the connection itself says
	}
}

// Violates says whether err is the violation of the constraint or unique index
// with that name.
func Violates(err error, constraint string) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.ConstraintName == constraint
}
