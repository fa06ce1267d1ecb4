package app

import (
	"net"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
)

// TestPipelineConnectsOnce has a pipeline fail on a server that breaks every
// connection off: it does not wait for another.
func TestPipelineConnectsOnce(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var connections atomic.Int64
	go func() { // ends with l
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			conn.Close()
		}
	}()
	c, err := OpenRedis("redis://"+l.Addr().String(), "test", false)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Pipelined(t.Context(), func(p redis.Pipeliner) error { return p.Ping(t.Context()).Err() })
	if got := connections.Load(); err == nil || got != 1 {
		t.Errorf("a pipeline made %d connections, %v; want that the first fails it", got, err)
	}
}
