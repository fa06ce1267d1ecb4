package local

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"strings"
	"syscall"

	goredis "github.com/redis/go-redis/v9"
)

type redis struct {
	*child
	url string
}

// volatile is the Redis for what may be lost: it writes nothing to disk, and
// drops what expires soonest when it is full.
const volatile = `
save ""
appendonly no
maxmemory 256mb
maxmemory-policy volatile-ttl
`

// durable is the Redis for what must be kept: every write is on the disk before
// it is answered, and a full memory refuses writes instead of dropping records.
const durable = `
dir ` + fdDir + `
pidfile ` + redisPID + `
save ""
appendonly yes
appendfsync always
no-appendfsync-on-rewrite no
maxmemory-policy noeviction
repl-diskless-sync-delay 0
`

const redisPID = "redis.pid"

// startVolatile starts the Redis for what may be lost.
func startVolatile(ctx context.Context, o Options, as runAs, password string) (*redis, error) {
	return startRedis(ctx, o, as, "Redis", "", volatile, password)
}

// startDurable starts the Redis of a data directory, and makes the directory
// first when it is new.
func startDurable(ctx context.Context, o Options, as runAs, dir, password string) (*redis, error) {
	if err := as.own(dir); err != nil {
		return nil, fmt.Errorf("make the directory of Redis: %w", err)
	}
	// Two servers that append to the same files would ruin them, and Redis does
	// not lock them.
	if err := awaitEnd(ctx, dir, redisPID); err != nil {
		return nil, err
	}
	return startRedis(ctx, o, as, "durable Redis", dir, durable, password)
}

func startRedis(ctx context.Context, o Options, as runAs, name, dir, settings, password string) (*redis, error) {
	path, err := exec.LookPath(o.RedisServer)
	if err != nil {
		return nil, errors.New("redis-server was not found: install the package redis-server, or set MICRO_SERVER_REDIS_SERVER to the program")
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	cmd, started, err := as.command(context.WithoutCancel(ctx), dir, path, "-")
	if err != nil {
		return nil, err
	}
	// The settings go in by standard input, where ps cannot see the password.
	cmd.Stdin = strings.NewReader(fmt.Sprintf("port %d\nbind 127.0.0.1\nrequirepass %s\nloglevel warning\n%s", port, password, settings))
	c, err := start(name, cmd)
	started()
	if err != nil {
		return nil, err
	}
	u := url.URL{Scheme: "redis", User: url.UserPassword("", password), Host: fmt.Sprintf("127.0.0.1:%d", port)}
	r := &redis{c, u.String()}
	client := goredis.NewClient(&goredis.Options{Addr: u.Host, Password: password, MaxRetries: -1})
	defer client.Close()
	if err := c.ready(ctx, func(ctx context.Context) error { return client.Ping(ctx).Err() }); err != nil {
		c.stop(ctx, syscall.SIGKILL)
		return nil, err
	}
	return r, nil
}
