package pg_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sys/unix"

	"github.com/micro/platform/internal/pg"
	"github.com/micro/platform/internal/pgtest"
)

// TestLostHostLosesTheLead cuts a leader off without a word, as a host that has
// lost its power or its network is. Another leads within seconds, and not before
// the first has stopped.
func TestLostHostLosesTheLead(t *testing.T) {
	t.Parallel()
	second := pgtest.New(t, "registry")
	var c cutter
	first := c.pool(t, second.Config())
	leads, left := make(chan struct{}), make(chan struct{})
	go pg.Lead(t.Context(), first, t.Name(), func(ctx context.Context) error { //nolint:errcheck // it is lost
		close(leads)
		<-ctx.Done()
		close(left)
		return nil
	})
	<-leads
	c.cut(t)
	cut, next := time.Now(), make(chan struct{})
	go pg.Lead(t.Context(), second, t.Name(), func(ctx context.Context) error { //nolint:errcheck // it ends with the test
		close(next)
		<-ctx.Done()
		return nil
	})
	select {
	case <-next:
		t.Logf("another leads after %v", time.Since(cut))
	case <-time.After(15 * time.Second):
		t.Fatal("a host that is lost still leads after 15 s")
	}
	select {
	case <-left:
	default:
		t.Error("two lead")
	}
}

// cutter makes connections that can be cut without either end being told.
type cutter struct {
	conns []*silent
	off   atomic.Bool
}

// pool answers a pool like another, whose connections can be cut.
func (c *cutter) pool(t *testing.T, cfg *pgxpool.Config) *pgxpool.Pool {
	t.Helper()
	cfg.MaxConns = 1
	cfg.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		if c.off.Load() {
			return nil, unix.EHOSTUNREACH
		}
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		s := &silent{TCPConn: conn.(*net.TCPConn), off: &c.off}
		c.conns = append(c.conns, s)
		return s, nil
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, s := range c.conns {
			s.TCPConn.Close()
		}
		pool.Close()
	})
	return pool
}

// cut makes the kernel drop whatever comes for the connections, keepalives too,
// and lets nothing out.
func (c *cutter) cut(t *testing.T) {
	t.Helper()
	c.off.Store(true)
	drop := unix.SockFprog{Len: 1, Filter: &unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}}
	for _, s := range c.conns {
		raw, err := s.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if e := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &drop)
		}); err != nil || e != nil && !errors.Is(e, net.ErrClosed) { // pgx has tried TLS first, on one of its own
			t.Fatal(e, err)
		}
	}
}

// silent is a connection whose end the other side does not hear of once it is cut.
type silent struct {
	*net.TCPConn
	off *atomic.Bool
}

func (s *silent) Write(b []byte) (int, error) {
	if s.off.Load() {
		return len(b), nil
	}
	return s.TCPConn.Write(b)
}

func (s *silent) Close() error {
	if s.off.Load() {
		return s.SetDeadline(time.Unix(1, 0))
	}
	return s.TCPConn.Close()
}
