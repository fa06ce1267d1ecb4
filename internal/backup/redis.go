package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/micro/platform/internal/app"
)

// redis writes an RDB file of each server, as a replica would get it, and
// answers how many keys each has.
func (w *writer) redis(ctx context.Context, address string, o Options) ([]int64, error) {
	servers, err := masters(ctx, address)
	if err != nil {
		return nil, err
	}
	var keys []int64
	var total int64
	from := w.bytes
	for i, server := range servers {
		n, err := w.rdb(ctx, fmt.Sprintf("%s/%d", redisName, i), server)
		if err != nil {
			return nil, err
		}
		keys = append(keys, n)
		total += n
	}
	o.tell("Redis: %d keys, %s", total, size(w.bytes-from))
	return keys, nil
}

// masters answers the addresses of the servers that have the keys: all masters
// of a cluster, the one that Sentinels know, or the one server.
func masters(ctx context.Context, address string) ([]*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, errors.New("MICRO_DURABLE_REDIS_URL: not an address like redis://user:password@host:port")
	}
	if u.Query().Has("master_name") {
		return known(ctx, u)
	}
	client, err := app.OpenRedis(address, "micro-backup", true)
	if err != nil {
		return nil, fmt.Errorf("MICRO_DURABLE_REDIS_URL: %w", err)
	}
	defer client.Close()
	cluster, ok := client.(*redis.ClusterClient)
	if !ok {
		return []*url.URL{u}, nil
	}
	var mu sync.Mutex
	var out []*url.URL
	err = cluster.ForEachMaster(ctx, func(_ context.Context, c *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		out = append(out, &url.URL{Scheme: u.Scheme, User: u.User, Host: c.Options().Addr})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("ask the Redis cluster for its servers: %w", err)
	}
	return out, nil
}

// known asks Sentinels for the master. The user of their address is theirs; that of
// the master is in its query.
func known(ctx context.Context, u *url.URL) ([]*url.URL, error) {
	o, err := redis.ParseFailoverURL(u.String())
	if err != nil {
		return nil, fmt.Errorf("MICRO_DURABLE_REDIS_URL: %w", err)
	}
	var failures []error
	for _, address := range o.SentinelAddrs {
		c := redis.NewSentinelClient(&redis.Options{Addr: address, Username: o.SentinelUsername, Password: o.SentinelPassword, TLSConfig: o.TLSConfig})
		at, err := c.GetMasterAddrByName(ctx, o.MasterName).Result()
		c.Close()
		if err == nil && len(at) == 2 {
			return []*url.URL{{Scheme: u.Scheme, User: url.UserPassword(o.Username, o.Password), Host: net.JoinHostPort(at[0], at[1])}}, nil
		}
		failures = append(failures, fmt.Errorf("ask the Sentinel at %s for %s: %w", address, o.MasterName, err))
	}
	return nil, errors.Join(failures...)
}

// rdb writes the RDB file of a server. It is of one moment, so that a record and
// the index of its table fit; the number of keys is of about that moment.
func (w *writer) rdb(ctx context.Context, part string, server *url.URL) (int64, error) {
	path, err := exec.LookPath("redis-cli")
	if err != nil {
		return 0, errors.New("the program redis-cli was not found: install the package redis-tools")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends redis-cli when the archive cannot be written
	password, _ := server.User.Password()
	bare := url.URL{Scheme: server.Scheme, Host: server.Host}
	args := []string{"-u", bare.String(), "--rdb", "-"}
	if user := server.User.Username(); user != "" {
		args = append(args, "--user", user)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = os.Environ()
	if password != "" { // ps does not show it there; a server without one refuses any
		cmd.Env = append(cmd.Env, "REDISCLI_AUTH="+password)
	}
	if err := w.output(part, cmd, cancel); err != nil {
		return 0, err
	}
	client := redis.NewClient(&redis.Options{Addr: server.Host, Username: server.User.Username(), Password: password})
	defer client.Close()
	return client.DBSize(ctx).Result()
}

// copyKeys moves what an RDB file has into the Redis at address: a server of its
// own reads the file and hands out key by key, so that the Redis may be anywhere
// and a cluster, too.
func copyKeys(ctx context.Context, rdb io.Reader, to redis.UniversalClient, o Options) (int64, error) {
	dir, err := os.MkdirTemp("", "micro-restore-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if err := writeFile(filepath.Join(dir, "dump.rdb"), rdb); err != nil {
		return 0, err
	}
	from, stop, err := o.serve(ctx, dir)
	if err != nil {
		return 0, err
	}
	defer stop()
	var n int64
	keys := from.Scan(ctx, 0, "", batch).Iterator()
	pending := make([]string, 0, batch)
	for keys.Next(ctx) {
		if pending = append(pending, keys.Val()); len(pending) == batch {
			copied, err := move(ctx, from, to, pending)
			if err != nil {
				return n, err
			}
			n += copied
			pending = pending[:0]
		}
	}
	if err := keys.Err(); err != nil {
		return n, fmt.Errorf("read the keys of Redis: %w", err)
	}
	copied, err := move(ctx, from, to, pending)
	return n + copied, err
}

// batch is how many keys are on their way at once.
const batch = 256

func move(ctx context.Context, from, to redis.UniversalClient, keys []string) (int64, error) {
	if len(keys) == 0 {
		return 0, nil
	}
	read := from.Pipeline()
	values, lives := make([]*redis.StringCmd, len(keys)), make([]*redis.DurationCmd, len(keys))
	for i, key := range keys {
		values[i], lives[i] = read.Dump(ctx, key), read.PTTL(ctx, key)
	}
	if _, err := read.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return 0, fmt.Errorf("read the keys of Redis: %w", err)
	}
	write := to.Pipeline()
	var n int64
	for i, key := range keys {
		value, err := values[i].Result()
		if errors.Is(err, redis.Nil) {
			continue // its life ended between the two
		}
		write.RestoreReplace(ctx, key, max(lives[i].Val(), 0), value)
		n++
	}
	if _, err := write.Exec(ctx); err != nil {
		return 0, fmt.Errorf("write the keys to Redis: %w", err)
	}
	return n, nil
}

// serve starts a Redis server on the RDB file in dir, on a socket there.
func (o Options) serve(ctx context.Context, dir string) (*redis.Client, func(), error) {
	path, err := exec.LookPath(o.RedisServer)
	if err != nil {
		return nil, nil, errors.New("redis-server was not found: install the package redis-server, or set MICRO_SERVER_REDIS_SERVER to the program")
	}
	socket := filepath.Join(dir, "socket")
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, path, "--port", "0", "--unixsocket", socket, "--dir", dir, "--save", "", "--appendonly", "no")
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: socket, MaxRetries: -1})
	stop := func() {
		client.Close()
		cmd.Process.Kill() //nolint:errcheck // it may have ended
		<-ended
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		// Ping is refused until the file is read.
		if client.Ping(ctx).Err() == nil {
			return client, stop, nil
		}
		select {
		case err := <-ended:
			ended <- err
			stop()
			return nil, nil, fmt.Errorf("a Redis server cannot read the archive's keys: %w: %s", err, said.Bytes())
		case <-ctx.Done():
			stop()
			return nil, nil, ctx.Err()
		case <-tick.C:
		}
	}
}

func writeFile(name string, r io.Reader) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, r); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
