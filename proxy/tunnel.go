package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
)

const (
	// idleTunnel is how long a tunnel may be silent.
	idleTunnel = 5 * time.Minute
	// lookEvery is how often it is looked whether a tunnel may go on: a suspension
	// ends it within that.
	lookEvery = 500 * time.Millisecond
)

// tunnel is a connection of a service to the internet.
type tunnel struct {
	egress  *egress
	caller  identity.Caller
	in, out bytesMoved // from the internet, and to it
}

// bytesMoved counts what is written through it.
type bytesMoved struct{ n, all atomic.Uint64 }

// Write implements io.Writer.
func (b *bytesMoved) Write(p []byte) (int, error) {
	b.add(len(p))
	return len(p), nil
}

func (b *bytesMoved) add(n int) { b.n.Add(uint64(n)); b.all.Add(uint64(n)) }

// count writes down what has been moved since the last time.
func (t *tunnel) count() {
	if in, out := t.in.n.Swap(0), t.out.n.Swap(0); in+out > 0 {
		t.egress.record(t.caller, in, out)
	}
}

// connect opens a tunnel, and holds it until one side ends it.
func (x *egress) connect(w http.ResponseWriter, r *http.Request, caller identity.Caller) {
	if _, _, err := net.SplitHostPort(r.Host); err != nil {
		refuse(w, errors.NewHTTP(http.StatusBadRequest, "CONNECT wants host:port, not %q", errors.Clip(r.Host)))
		return
	}
	server, err := x.dial(r.Context(), "tcp", r.Host)
	if err != nil {
		refuse(w, unreachable(r.Host, err))
		return
	}
	defer server.Close()
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		refuse(w, err)
		return
	}
	defer client.Close()
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	t := &tunnel{egress: x, caller: caller}
	defer t.count()
	t.hold(client, buffered.Reader, server)
}

// hold copies both ways. A side that says nothing more leaves the other way open.
func (t *tunnel) hold(client net.Conn, from *bufio.Reader, server net.Conn) {
	ctx, cancel := context.WithCancel(t.egress.life)
	defer cancel()
	defer context.AfterFunc(ctx, func() { client.Close(); server.Close() })()
	var ways sync.WaitGroup
	ways.Go(func() { move(server, from, &t.out, cancel) })
	ways.Go(func() { move(client, server, &t.in, cancel) })
	done := make(chan struct{})
	go func() { ways.Wait(); close(done) }() // ends with the two ways
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	var seen uint64
	for busy, counted := time.Now(), time.Now(); ; {
		select {
		case <-done:
			return
		case now := <-look.C:
			if all := t.in.all.Load() + t.out.all.Load(); all != seen {
				seen, busy = all, now
			}
			if now.Sub(counted) >= movedEvery {
				t.count()
				counted = now
			}
			if now.Sub(busy) > idleTunnel || t.egress.may(ctx, t.caller) != nil {
				cancel()
			}
		}
	}
}

// move copies one way, and tells the other side that there is no more. A way that
// breaks off ends both.
func move(to net.Conn, from io.Reader, count *bytesMoved, end context.CancelFunc) {
	_, err := io.Copy(io.MultiWriter(to, count), from)
	half, ok := to.(interface{ CloseWrite() error })
	if err != nil || !ok || half.CloseWrite() != nil {
		end()
	}
}
