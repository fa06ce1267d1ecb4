package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// arriveWithin is how long a server that stops waits for requests on connections
// that it has let in.
const arriveWithin = 500 * time.Millisecond

// ServeHTTP serves on a listener until the component stops.
func (h *Host) ServeHTTP(server *http.Server, l net.Listener) {
	s := NewHTTPServer(server, l)
	h.Go("serve http", func(context.Context) error { return s.Serve() })
	h.OnDrain(func(ctx context.Context) {
		h.Notice(ctx)
		ctx, cancel := context.WithTimeout(ctx, h.Drain())
		defer cancel()
		if s.Shutdown(ctx) != nil {
			s.Close() //nolint:errcheck // cut off: the time is up
		}
	})
}

// HTTPServer answers, when it stops, every request of the connections that it has
// let in. http.Server.Shutdown alone closes those whose request it reads a moment
// later.
type HTTPServer struct {
	server   *http.Server
	listener net.Listener
	stopping atomic.Bool
	deaf     chan struct{} // closed when no connection is let in any more
	free     chan struct{} // told that busy has become empty

	mu   sync.Mutex
	busy map[net.Conn]struct{} // a request is awaited, or being answered
}

// NewHTTPServer makes s serve on l. The server's ConnState is used up.
func NewHTTPServer(s *http.Server, l net.Listener) *HTTPServer {
	h := &HTTPServer{server: s, listener: l, deaf: make(chan struct{}), free: make(chan struct{}, 1), busy: map[net.Conn]struct{}{}}
	s.ConnState = h.note
	return h
}

// Serve serves until Shutdown or Close.
func (h *HTTPServer) Serve() error {
	defer close(h.deaf)
	err := h.server.Serve(h.listener)
	if h.stopping.Load() || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve HTTP: %w", err)
}

// Shutdown lets nobody in any more, and comes back when all requests are answered,
// or with the error of ctx.
func (h *HTTPServer) Shutdown(ctx context.Context) error {
	h.stopping.Store(true)
	h.server.SetKeepAlivesEnabled(false)
	h.listener.Close() //nolint:errcheck // Serve ends by it either way
	h.arrive(ctx)
	return h.server.Shutdown(ctx)
}

// Close cuts off what is left.
func (h *HTTPServer) Close() error {
	h.stopping.Store(true)
	return h.server.Close()
}

// arrive waits until the requests are answered that may still come.
func (h *HTTPServer) arrive(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, arriveWithin)
	defer cancel()
	next := h.deaf
	for next != nil || h.isBusy() {
		select {
		case <-next:
			next = nil
		case <-h.free:
		case <-ctx.Done():
			return
		}
	}
}

func (h *HTTPServer) isBusy() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.busy) > 0
}

func (h *HTTPServer) note(c net.Conn, state http.ConnState) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if state == http.StateNew || state == http.StateActive {
		h.busy[c] = struct{}{}
		return
	}
	delete(h.busy, c)
	if len(h.busy) > 0 {
		return
	}
	select {
	case h.free <- struct{}{}:
	default:
	}
}
