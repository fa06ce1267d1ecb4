package egress

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
)

const (
	// idleTunnel is how long a tunnel may be silent.
	idleTunnel = 5 * time.Minute
	// lookEvery is how often it is looked whether a tunnel may go on: a suspension
	// ends it within that.
	lookEvery = 500 * time.Millisecond
	// countEvery is how often the bytes of a tunnel that goes on are counted.
	countEvery = 10 * time.Second
)

// tunnel is a connection of a service to the internet, its own for each request.
type tunnel struct {
	proxy   *proxy
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
		t.proxy.edge.Moved(t.caller, in, out)
	}
}

// connect opens a tunnel, and holds it until one side ends it.
func (p *proxy) connect(w http.ResponseWriter, r *http.Request, caller identity.Caller) {
	if _, _, err := net.SplitHostPort(r.Host); err != nil {
		refuse(w, errors.NewHTTP(http.StatusBadRequest, "CONNECT wants host:port, not %q", errors.Clip(r.Host)))
		return
	}
	server, err := p.dial(r.Context(), "tcp", r.Host)
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
	t := &tunnel{proxy: p, caller: caller}
	defer t.count()
	t.hold(client, buffered.Reader, server)
}

// hold copies both ways. A side that says nothing more leaves the other way open.
func (t *tunnel) hold(client net.Conn, from *bufio.Reader, server net.Conn) {
	ctx, end := context.WithCancelCause(t.proxy.life)
	defer end(nil)
	defer context.AfterFunc(ctx, func() { client.Close(); server.Close() })()
	go t.watch(ctx, end) // ends with the two ways
	var ways sync.WaitGroup
	ways.Go(func() { move(server, from, &t.out, end) })
	ways.Go(func() { move(client, server, &t.in, end) })
	ways.Wait()
}

// errSilent ends what says nothing.
var errSilent = errors.New(codes.DeadlineExceeded, "nothing came for %s", idleTunnel)

// watch counts what is moved while it is, and ends it when it may not go on.
func (t *tunnel) watch(ctx context.Context, end context.CancelCauseFunc) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	var seen uint64
	for busy, counted := time.Now(), time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case now := <-look.C:
			if all := t.in.all.Load() + t.out.all.Load(); all != seen {
				seen, busy = all, now
			}
			if now.Sub(counted) >= countEvery {
				t.count()
				counted = now
			}
			if now.Sub(busy) > idleTunnel {
				end(errSilent)
			}
			if err := t.proxy.edge.MayLeave(ctx, t.caller); err != nil {
				end(err)
			}
		}
	}
}

// move copies one way, and tells the other side that there is no more. A way that
// breaks off ends both.
func move(to net.Conn, from io.Reader, count *bytesMoved, end context.CancelCauseFunc) {
	_, err := io.Copy(io.MultiWriter(to, count), from)
	half, ok := to.(interface{ CloseWrite() error })
	if err != nil || !ok || half.CloseWrite() != nil {
		end(err)
	}
}

// moving is a connection whose bytes are counted.
type moving struct {
	net.Conn
	*tunnel
}

// Read implements net.Conn.
func (m moving) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	m.in.add(n)
	return n, err
}

// Write implements net.Conn.
func (m moving) Write(p []byte) (int, error) {
	n, err := m.Conn.Write(p)
	m.out.add(n)
	return n, err
}

// maxPlain bounds a plain request. Tunnels are bounded by silence only.
const maxPlain = 10 * time.Minute

var errPlainTooLong = errors.New(codes.DeadlineExceeded, "the request took longer than %s", maxPlain)

// pass makes a plain request for a service, on a connection that no other has: it
// is counted as it is, and no namespace takes another's.
func (p *proxy) pass(w http.ResponseWriter, r *http.Request, caller identity.Caller) {
	if r.URL.Scheme != "http" || r.URL.Host == "" {
		refuse(w, errors.NewHTTP(http.StatusBadRequest, "this is a proxy: name the whole address, http://host/path, or CONNECT host:port"))
		return
	}
	t := &tunnel{proxy: p, caller: caller}
	defer t.count()
	ctx, cancel := context.WithTimeoutCause(r.Context(), maxPlain, errPlainTooLong)
	defer cancel()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer context.AfterFunc(p.life, func() { end(nil) })()
	go t.watch(ctx, end) // ends with the request
	(&httputil.ReverseProxy{
		Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true, ResponseHeaderTimeout: idleTunnel,
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				server, err := p.dial(ctx, network, address)
				if err != nil {
					return nil, err
				}
				return moving{server, t}, nil
			}},
		Rewrite: func(r *httputil.ProxyRequest) { r.Out.Header.Del("Proxy-Authorization") },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			if why := context.Cause(ctx); why != nil {
				refuse(w, why)
				return
			}
			refuse(w, unreachable(r.Host, err))
		},
		ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}).ServeHTTP(w, r.WithContext(ctx))
}
