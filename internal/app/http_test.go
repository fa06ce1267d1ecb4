package app

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestLetIn shows that a server which stops answers who was let in before, though
// the request comes only after.
func TestLetIn(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address, in := l.Addr().String(), make(chan struct{})
	let := sync.OnceFunc(func() { close(in) })
	s := NewHTTPServer(&http.Server{
		Handler:     http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") }),
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context { let(); return ctx },
	}, l)
	served, stopped := make(chan error, 1), make(chan error, 1)
	go func() { served <- s.Serve() }()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	<-in
	go func() { stopped <- s.Shutdown(ctx) }()
	for !errors.Is(err, syscall.ECONNREFUSED) {
		var late net.Conn
		if late, err = d.DialContext(ctx, "tcp", address); err == nil {
			late.Close()
		} else if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	rsp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("a request of a connection that was let in: %v", err)
	}
	rsp.Body.Close()
	for name, ended := range map[string]chan error{"Serve": served, "Shutdown": stopped} {
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
