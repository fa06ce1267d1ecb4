package faults

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/pgtest"
	"github.com/micro/platform/internal/settings"
	"github.com/micro/platform/tests/platform"
)

// databases are those of a platform that is apart, at addresses that outlive
// them.
type databases struct {
	Platform        app.Platform
	redis, postgres *platform.Daemon
	// others are started after those two, by more.
	others []*platform.Daemon
	more   func(ctx context.Context) error
}

// newDatabases keeps everything in dir, which the user of Postgres can reach.
// They are not started yet.
func newDatabases(dir string) (*databases, error) {
	bucket := filepath.Join(dir, "bucket")
	redis, redisErr := platform.NewRedis(filepath.Join(dir, "redis"), "127.0.0.1")
	postgres, postgresErr := platform.NewPostgres(filepath.Join(dir, "postgres"), "127.0.0.1")
	if err := errors.Join(os.MkdirAll(bucket, 0o700), redisErr, postgresErr); err != nil {
		return nil, err
	}
	return &databases{redis: redis, postgres: postgres, Platform: app.Platform{
		PostgresURL: settings.Secret(postgres.URL), RedisURL: settings.Secret(redis.URL), DurableRedisURL: settings.Secret(redis.URL),
		BucketURL: "file://" + bucket + "?no_tmp_dir=true&metadata=skip", StateDir: filepath.Join(dir, "state"), ClusterSecret: pgtest.Secret,
	}}, nil
}

func (d *databases) start(ctx context.Context) error {
	err := errors.Join(d.redis.Up(ctx), d.postgres.Up(ctx))
	if err == nil && d.more != nil {
		err = d.more(ctx)
	}
	return err
}

func (d *databases) stop() {
	for _, x := range append(d.others, d.redis, d.postgres) {
		x.Kill() //nolint:errcheck // it is gone either way
	}
}
