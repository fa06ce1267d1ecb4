package redistest

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/micro/platform/internal/porttest"
)

// The slots of a Redis Cluster.
const slots = 16384

// Cluster starts a Redis Cluster of three servers that end with the test, and
// lends a client. Nobody else uses it.
func Cluster(t testing.TB) *redis.ClusterClient {
	t.Helper()
	const nodes = 3
	var addresses []string
	for i := range nodes {
		port, bus := startNode(t)
		addresses = append(addresses, fmt.Sprintf("127.0.0.1:%d", port))
		node := redis.NewClient(&redis.Options{Addr: addresses[i]})
		t.Cleanup(func() { node.Close() })
		wait(t, func(ctx context.Context) error { return node.Ping(ctx).Err() })
		if err := node.ClusterAddSlotsRange(t.Context(), i*slots/nodes, (i+1)*slots/nodes-1).Err(); err != nil {
			t.Fatal(err)
		}
		first := redis.NewClient(&redis.Options{Addr: addresses[0]})
		if err := first.Do(t.Context(), "CLUSTER", "MEET", "127.0.0.1", port, bus).Err(); err != nil {
			t.Fatal(err)
		}
		first.Close()
	}
	for _, a := range addresses {
		node := redis.NewClient(&redis.Options{Addr: a})
		wait(t, func(ctx context.Context) error {
			info, err := node.ClusterInfo(ctx).Result()
			if err == nil && (!strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_known_nodes:3")) {
				err = fmt.Errorf("the cluster is not whole: %s", info)
			}
			return err
		})
		node.Close()
	}
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addresses})
	t.Cleanup(func() { c.Close() })
	return c
}

// Replicated starts a server with a replica that end with the test, and lends
// clients of both.
func Replicated(t testing.TB) (master, replica *redis.Client) {
	t.Helper()
	lend := func(port int) *redis.Client {
		c := redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", port)})
		t.Cleanup(func() { c.Close() })
		wait(t, func(ctx context.Context) error { return c.Ping(ctx).Err() })
		return c
	}
	of, to := freePort(t), freePort(t)
	startServer(t, of)
	startServer(t, to, "--replicaof", "127.0.0.1 "+strconv.Itoa(of), "--repl-diskless-sync-delay", "0")
	master, replica = lend(of), lend(to)
	wait(t, func(ctx context.Context) error {
		n, err := master.Wait(ctx, 1, time.Second).Result()
		if err == nil && n == 0 {
			err = fmt.Errorf("the replica is not there yet")
		}
		return err
	})
	return master, replica
}

// Durable starts a server that ends with the test and whose answers are on disk,
// and answers where it is.
func Durable(t testing.TB) (url string) {
	t.Helper()
	port := freePort(t)
	startServer(t, port)
	c := redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", port)})
	defer c.Close()
	wait(t, func(ctx context.Context) error { return c.Ping(ctx).Err() })
	return fmt.Sprintf("redis://127.0.0.1:%d", port)
}

// startNode starts a server that waits to be joined to others.
func startNode(t testing.TB) (port, bus int) {
	t.Helper()
	port, bus = freePort(t), freePort(t)
	startServer(t, port, "--cluster-port", strconv.Itoa(bus), "--cluster-enabled", "yes")
	return port, bus
}

func freePort(t testing.TB) int {
	t.Helper()
	port, err := porttest.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func startServer(t testing.TB, port int, args ...string) {
	t.Helper()
	cmd := exec.Command("redis-server", append([]string{"--port", strconv.Itoa(port), "--bind", "127.0.0.1",
		"--dir", t.TempDir(), "--save", "", "--appendonly", "yes", "--appendfsync", "always"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start redis-server: %v", err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() //nolint:errcheck // it may have ended by itself
		cmd.Wait()         //nolint:errcheck // as told
	})
}

// wait polls until probe succeeds.
func wait(t testing.TB, probe func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		err := probe(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
