package lost_test

import (
	"errors"
	"net"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/micro/platform/internal/lost"
	"github.com/micro/platform/internal/pgtest"
)

// TestIs makes the errors as the libraries do.
func TestIs(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	pool := pgtest.New(t, "registry")
	query := func(sql string) error {
		_, err := pool.Exec(t.Context(), sql)
		return err
	}
	ended, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer ended.Release()
	if _, err := pool.Exec(t.Context(), "SELECT pg_terminate_backend($1)", ended.Conn().PgConn().PID()); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		make func() error
		want bool
	}{
		{"Postgres ends the connection", func() error { return ended.Ping(t.Context()) }, true},
		{"it has ended", func() error { return ended.Ping(t.Context()) }, true},
		{"there is no Postgres", func() error {
			_, err := pgx.Connect(t.Context(), "postgres://"+nobody+"/x?sslmode=disable")
			return err
		}, true},
		{"there is no Redis", func() error {
			c := redis.NewClient(&redis.Options{Addr: nobody, MaxRetries: -1, DialerRetries: 1})
			defer c.Close()
			return c.Ping(t.Context()).Err()
		}, true},
		{"Postgres only reads", func() error { return query("BEGIN READ ONLY; DELETE FROM nodes") }, true},
		{"a component is away", func() error { return status.Error(codes.Unavailable, "connection refused") }, true},
		{"Postgres refuses", func() error { return query("SELECT 1/0") }, false},
		{"a component refuses", func() error { return status.Error(codes.NotFound, "none") }, false},
		{"a mistake", func() error { return errors.New("no such thing") }, false},
	} {
		if err := tt.make(); err == nil || lost.Is(err) != tt.want {
			t.Errorf("%s: %v, want it lost: %v", tt.name, err, tt.want)
		}
	}
}
