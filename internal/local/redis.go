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

// startRedis starts the Redis for what may be lost: it writes nothing to disk,
// and drops what expires soonest when it is full.
func startRedis(ctx context.Context, o Options, as runAs, password string) (*redis, error) {
	path, err := exec.LookPath(o.RedisServer)
	if err != nil {
		return nil, errors.New("redis-server was not found: install the package redis-server, or set MICRO_SERVER_REDIS_SERVER to the program")
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	cmd, _, err := as.command(context.WithoutCancel(ctx), "", path, "-")
	if err != nil {
		return nil, err
	}
	// The settings go in by standard input, where ps cannot see the password.
	cmd.Stdin = strings.NewReader(fmt.Sprintf(`
port %d
bind 127.0.0.1
requirepass %s
save ""
appendonly no
maxmemory 256mb
maxmemory-policy volatile-ttl
loglevel warning
`, port, password))
	c, err := start("Redis", cmd)
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
