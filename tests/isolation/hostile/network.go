package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"
)

// dialTimeout is longer than anything that is refused takes.
const dialTimeout = 3 * time.Second

// Dial tries to reach addresses, host:port, all at once: "open", "refused",
// "timeout" or the error. "udp " before one sends a datagram and listens.
func (*Hostile) Dial(ctx context.Context, req *Request, rsp *Response) error {
	rsp.Results = each(req.Targets, func(target string) string {
		if address, ok := strings.CutPrefix(target, "udp "); ok {
			return datagram(address)
		}
		conn, err := net.DialTimeout("tcp", target, dialTimeout)
		if err != nil {
			return outcome(err)
		}
		conn.Close()
		return "open"
	})
	return nil
}

// datagram asks something of an address, as a resolver would.
func datagram(address string) string {
	conn, err := net.Dial("udp", address)
	if err != nil {
		return outcome(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(dialTimeout)) //nolint:errcheck // a UDP socket has one
	for range 2 {                                 // what comes back about the first shows at the second
		if _, err := conn.Write([]byte("hello")); err != nil {
			return outcome(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if _, err := conn.Read(make([]byte, 512)); err != nil {
		return outcome(err)
	}
	return "open"
}

// Lookup resolves names: the addresses, or the error, and how long it took.
func (*Hostile) Lookup(ctx context.Context, req *Request, rsp *Response) error {
	rsp.Results = each(req.Targets, func(name string) string {
		began := time.Now()
		found, err := net.DefaultResolver.LookupHost(ctx, name)
		if err != nil {
			return fmt.Sprintf("error after %v: %v", time.Since(began).Round(time.Millisecond), err)
		}
		return strings.Join(found, " ")
	})
	return nil
}

// Connect opens count connections to the target and holds them for some
// seconds: as many that say nothing as begin a request and never end it.
func (*Hostile) Connect(ctx context.Context, req *Request, rsp *Response) error {
	var mu sync.Mutex
	var held []net.Conn
	rsp.Results = map[string]string{}
	var work sync.WaitGroup
	for worker := range int64(64) {
		work.Go(func() {
			for i := worker; i < req.Count; i += 64 {
				conn, err := net.DialTimeout("tcp", req.Targets[0], dialTimeout)
				mu.Lock()
				if err != nil {
					rsp.Results[outcome(err)] = "yes"
				} else {
					held = append(held, conn)
				}
				mu.Unlock()
				if err == nil && i%2 == 0 {
					conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM")) //nolint:errcheck // half of a preface
				}
			}
		})
	}
	work.Wait()
	defer func() {
		for _, c := range held {
			c.Close()
		}
	}()
	select {
	case <-ctx.Done():
	case <-time.After(4 * time.Second):
	}
	for _, c := range held {
		c.SetReadDeadline(time.Now().Add(time.Millisecond)) //nolint:errcheck // a closed one reads at once
		if _, err := c.Read(make([]byte, 1)); errors.Is(err, syscall.ECONNRESET) || err != nil && err.Error() == "EOF" {
			rsp.Results["closed by the edge"] = "yes"
			continue
		}
		rsp.Count++
	}
	return nil
}

func each(targets []string, try func(string) string) map[string]string {
	out := map[string]string{}
	var mu sync.Mutex
	var work sync.WaitGroup
	slots := make(chan struct{}, 128)
	for _, t := range targets {
		slots <- struct{}{}
		work.Go(func() {
			result := try(t)
			mu.Lock()
			out[t] = result
			mu.Unlock()
			<-slots
		})
	}
	work.Wait()
	return out
}

// outcome tells apart what matters of an error.
func outcome(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, syscall.EMFILE):
		return "too many open files"
	}
	return err.Error()
}
