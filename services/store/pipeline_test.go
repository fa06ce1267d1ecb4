package store

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/redistest"
	storepb "github.com/micro/platform/proto/store"
)

// TestPipeline has many callers write and read at once: each gets the answer to
// its own command, and one that left does not hold the others up.
func TestPipeline(t *testing.T) {
	t.Parallel()
	s, ns := setup(t)
	gone, leave := context.WithCancel(as(t, ns))
	leave()
	var callers sync.WaitGroup
	for i := range 200 {
		callers.Go(func() {
			key, value := fmt.Sprint("key", i), fmt.Sprint("value", i)
			if i%10 == 0 {
				if _, err := s.Read(gone, &storepb.ReadRequest{Key: key}); !errors.Is(err, context.Canceled) {
					t.Errorf("Read of one who left = %v", err)
				}
				return
			}
			write(t, s, as(t, ns), key, value)
			rsp, err := s.Read(as(t, ns), &storepb.ReadRequest{Key: key})
			if err != nil || string(rsp.GetRecords()[0].GetValue()) != value {
				t.Errorf("Read(%s) = %v, %v, want %s", key, rsp, err, value)
			}
		})
	}
	callers.Wait()
}

// TestForgottenScripts writes and reads through a Redis that has started again
// without its scripts.
func TestForgottenScripts(t *testing.T) {
	t.Parallel()
	o, err := redis.ParseURL(redistest.Durable(t))
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(o)
	t.Cleanup(func() { rdb.Close() })
	s, ns := setupOn(t, rdb)
	for range 2 {
		write(t, s, as(t, ns), "key", "value")
		if _, err := s.Read(as(t, ns), &storepb.ReadRequest{Key: "key"}); err != nil {
			t.Fatal(err)
		}
		if err := rdb.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLostAnswer has the network lose the answers to writes that were made: they
// end in Unavailable, and are not made again.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"one server", "cluster"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			var deaf atomic.Bool
			dial := func(ctx context.Context, network, address string) (net.Conn, error) {
				c, err := (&net.Dialer{}).DialContext(ctx, network, address)
				return &deafConn{c, &deaf}, err
			}
			s, ns := setupOn(t, lossy(t, kind, dial))
			before := write(t, s, as(t, ns), "counter", "0")
			deaf.Store(true)
			_, err := s.Write(as(t, ns), &storepb.WriteRequest{Record: &storepb.Record{Key: "new", Value: []byte("1")}, Options: &storepb.WriteOptions{IfAbsent: true}})
			if errors.Code(err) != codes.Unavailable {
				t.Errorf("Write without an answer = %v, want Unavailable", err)
			}
			deaf.Store(false)
			if after := write(t, s, as(t, ns), "counter", "1"); after != before+2 { // the lost one, and this
				t.Errorf("version %d after %d: the lost one was made more or less than once", after, before)
			}
		})
	}
}

// TestLateAnswer has the network hold back the answer to a read, and to two writes:
// others are answered meanwhile.
func TestLateAnswer(t *testing.T) {
	t.Parallel()
	h := &held{begun: make(chan struct{}), release: make(chan struct{})}
	s, ns := setupOn(t, lossy(t, "one server", func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return &heldConn{c, h}, err
	}))
	write(t, s, as(t, ns), "key", "0")
	ctx, cancel := context.WithTimeout(as(t, ns), 20*time.Second)
	defer cancel()
	read := func() error {
		_, err := s.Read(ctx, &storepb.ReadRequest{Key: "key"})
		return err
	}
	put := func(key string) error {
		_, err := s.Write(ctx, &storepb.WriteRequest{Record: &storepb.Record{Key: key, Value: []byte("1")}})
		return err
	}
	late := make(chan error)
	for n, ask := range []func() error{read, func() error { return put("first") }, func() error { return put("second") }} {
		h.hold.Store(true)
		go func() { late <- ask() }()
		select {
		case <-h.begun:
		case <-ctx.Done():
			t.Fatalf("%d: it did not ask Redis", n)
		}
	}
	if err := read(); err != nil {
		t.Errorf("Read while another is late: %v", err)
	}
	if err := put("third"); err != nil {
		t.Errorf("Write while two others are late: %v", err)
	}
	close(h.release)
	for range 3 {
		if err := <-late; err != nil {
			t.Errorf("one that was late: %v", err)
		}
	}
}

// held is one answer at a time that waits for its release.
type held struct {
	hold           atomic.Bool
	begun, release chan struct{}
}

type heldConn struct {
	net.Conn
	*held
}

func (c *heldConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.hold.CompareAndSwap(true, false) {
		c.begun <- struct{}{}
		<-c.release
	}
	return n, err
}

// lossy answers a client of a server or a cluster that dials by dial, with the
// retries that go-redis makes by default.
func lossy(t *testing.T, kind string, dial func(context.Context, string, string) (net.Conn, error)) redis.UniversalClient {
	t.Helper()
	var c redis.UniversalClient
	if kind == "cluster" {
		o := *redistest.Cluster(t).Options()
		o.Dialer = dial
		c = redis.NewClusterClient(&o)
	} else {
		o, err := redis.ParseURL(redistest.URL(t))
		if err != nil {
			t.Fatal(err)
		}
		o.Dialer = dial
		c = redis.NewClient(o)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// deafConn loses what comes in, and then the connection, while deaf.
type deafConn struct {
	net.Conn
	deaf *atomic.Bool
}

func (c *deafConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.deaf.Load() {
		return 0, io.EOF
	}
	return n, err
}
