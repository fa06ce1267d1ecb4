package rpc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	// askEvery is how soon another host is asked for a connection once more, by one
	// beside the first. Linux asks again after a second (RFC 6298, 2.1), when whoever
	// waits is to know that nobody is there: what is lost on the way is said before.
	askEvery = 250 * time.Millisecond
	// asks is how often it is asked: a machine that has too much to do answers late.
	asks = 8
	// asksSilent is how often a host is asked that has just been found to be silent:
	// whoever waits has waited for Silence, or for a part of it, before.
	asksSilent = 2
	// silentFor is how long a host counts as silent that nobody tries to connect to.
	silentFor = 10 * time.Second
)

// quietHosts are the hosts, as they are dialled, of which a connection broke off
// since nothing was acknowledged, until there is another.
type quietHosts struct {
	mu    sync.Mutex
	since map[string]time.Time
}

var quiet = quietHosts{since: map[string]time.Time{}}

// is says whether a host is silent.
func (s *quietHosts) is(address string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	_, known := s.since[hostOf(address)]
	return known
}

// forget drops the hosts that nobody has tried to connect to for some time. It wants
// mu held.
func (s *quietHosts) forget() {
	maps.DeleteFunc(s.since, func(_ string, since time.Time) bool { return time.Since(since) > silentFor })
}

// set notes that a host is silent, or not.
func (s *quietHosts) set(address string, is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	if is {
		s.since[hostOf(address)] = time.Now()
	} else {
		delete(s.since, hostOf(address))
	}
}

func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}

// connect takes the connection to an address that is there first, or the first
// error: a refusal is an answer, too. A try calls asked when it knows where to
// connect to. Looking up a name takes its own time.
func connect(ctx context.Context, address string, try func(ctx context.Context, asked func()) (net.Conn, error)) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type end struct {
		conn net.Conn
		err  error
	}
	ended, asked := make(chan end), make(chan struct{}, 1)
	begin := func() {
		conn, err := try(ctx, func() {
			select {
			case asked <- struct{}{}:
			default:
			}
		})
		if errors.Is(err, syscall.ETIMEDOUT) { // the kernel gives up before the others do
			return
		}
		select {
		case ended <- end{conn, err}:
		case <-ctx.Done(): // another was first, or it is too late
			if err == nil {
				conn.Close()
			}
		}
	}
	go begin()
	var again <-chan time.Time
	for n := 1; ; {
		select {
		case <-asked:
			if again == nil {
				t := time.NewTicker(askEvery)
				defer t.Stop()
				again = t.C
			}
		case <-again:
			is := quiet.is(address)
			if n >= asks || n >= asksSilent && is {
				quiet.set(address, is) // it goes on
				return nil, fmt.Errorf("dial %s: connect: %w", address, syscall.ETIMEDOUT)
			}
			n++
			go begin()
		case e := <-ended:
			if e.err == nil {
				quiet.set(address, false)
			}
			return e.conn, e.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
