package faults

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/micro/platform/internal/settings"
	"github.com/micro/platform/tests/platform"
)

const (
	// takeover is how soon another server has to have taken over.
	takeover = 5 * time.Second
	// notices is how long whoever looks after Postgres takes to be sure that it is
	// gone.
	notices = time.Second
)

// TestFailover is E2 and E3 with other servers to take over.
func TestFailover(t *testing.T) {
	t.Parallel()
	inFull(t)
	failover(t).judge(t)
}

// failover kills the master of a Redis with two replicas and three Sentinels, and
// then a Postgres with a standby: those take over, and nothing that was acknowledged
// is lost.
func failover(t *testing.T) Figures {
	t.Helper()
	dir := shared(t)
	d, err := newDatabases(dir)
	if err != nil {
		t.Fatal(err)
	}
	standby := d.pairs(t, dir)
	c := &chaos{T: t, servers: d, site: siteOn(t, platform.Config{Dir: dir, Env: []string{"MICRO_STORE_REPLICAS=1", "MICRO_EVENTS_REPLICAS=1"}}, d)}
	c.prepare()
	c.takenOver("E3 SIGKILL of Redis' master", d.redis, func(ctx context.Context) error {
		platform.Until(ctx, time.Now().Add(takeover)) // back before, it would stay the master
		return d.redis.Up(ctx)
	})
	c.takenOver("E2 SIGKILL of Postgres' primary", d.postgres, func(ctx context.Context) error {
		platform.Until(ctx, time.Now().Add(notices))
		return standby().Exec(ctx, "SELECT pg_promote()")
	})
	c.backup("E22 backup of those that have taken over")
	return c.figures
}

// pairs gives the databases others that take over. The standby of Postgres is there
// when they have started.
func (d *databases) pairs(t *testing.T, dir string) (standby func() *platform.Daemon) {
	t.Helper()
	const host = "127.0.0.1"
	master, err := url.Parse(d.redis.URL)
	if err != nil {
		t.Fatal(err)
	}
	var sentinels []string
	for i := range 2 {
		r, err := platform.NewRedis(filepath.Join(dir, fmt.Sprint("replica", i)), host, "--replicaof", master.Hostname(), master.Port())
		if err != nil {
			t.Fatal(err)
		}
		d.others = append(d.others, r)
	}
	for i := range 3 {
		s, err := platform.NewSentinel(filepath.Join(dir, fmt.Sprint("sentinel", i)), host, d.redis)
		if err != nil {
			t.Fatal(err)
		}
		d.others = append(d.others, s)
		sentinels = append(sentinels, s.URL)
	}
	names := url.Values{"master_name": {platform.MasterName}, "addr": sentinels[1:]}
	redis := settings.Secret("redis://" + sentinels[0] + "?" + names.Encode())
	d.Platform.RedisURL, d.Platform.DurableRedisURL = redis, redis
	var second *platform.Daemon
	d.more = func(ctx context.Context) error {
		var err error
		if second, err = platform.NewStandby(ctx, filepath.Join(dir, "standby"), host, d.postgres); err != nil {
			return err
		}
		d.others = append(d.others, second)
		for _, x := range d.others {
			if err := x.Up(ctx); err != nil {
				return err
			}
		}
		u, err := url.Parse(d.postgres.URL)
		if err != nil {
			return err
		}
		other, err := url.Parse(second.URL)
		if err != nil {
			return err
		}
		u.Host += "," + other.Host
		u.RawQuery += "&target_session_attrs=read-write"
		d.Platform.PostgresURL = settings.Secret(u.String())
		return nil
	}
	return func() *platform.Daemon { return second }
}

// takenOver kills a server, and does what makes another one take over.
func (c *chaos) takenOver(name string, server *platform.Daemon, do func(context.Context) error) {
	x := c.under(name, func(ctx context.Context) map[string]int {
		if err := server.Kill(); err != nil {
			c.Fatal(err)
		}
		if err := do(ctx); err != nil {
			c.Error(err)
		}
		platform.Until(ctx, time.Now().Add(takeover))
		return map[string]int{server.Name: 1}
	})
	// A slow upload takes a second by itself, and the next begins as late again.
	c.figures.most(name, "no call of a kind is answered", x.gap("slow upload"), takeover)
}
