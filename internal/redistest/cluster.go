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

	"github.com/micro/platform/internal/local"
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

// startNode starts a server that waits to be joined to others.
func startNode(t testing.TB) (port, bus int) {
	t.Helper()
	var err error
	if port, err = local.FreePort(); err == nil {
		bus, err = local.FreePort()
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("redis-server", "--port", strconv.Itoa(port), "--cluster-port", strconv.Itoa(bus), "--bind", "127.0.0.1",
		"--cluster-enabled", "yes", "--dir", t.TempDir(), "--save", "", "--appendonly", "yes", "--appendfsync", "always")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start redis-server: %v", err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() //nolint:errcheck // it may have ended by itself
		cmd.Wait()         //nolint:errcheck // as told
	})
	return port, bus
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
