package rpc

import (
	"context"
	"fmt"
	"net"
	"syscall"
	"time"
)

// tries is how often another host is asked for a connection, one for each askEvery
// that nobody answers. Linux asks again after a second (RFC 6298, 2.1), when whoever
// waits is to know that nobody is there: what is lost on the way is said by another
// connection before.
const (
	tries    = 3
	askEvery = 250 * time.Millisecond
)

// connect takes the connection that is there first, or the first error: a refusal
// is an answer, too. A try calls asked when it has the address. Looking up a name
// takes its own time.
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
			if n == tries {
				return nil, fmt.Errorf("dial %s: connect: %w", address, syscall.ETIMEDOUT)
			}
			n++
			go begin()
		case e := <-ended:
			return e.conn, e.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
