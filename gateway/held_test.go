package gateway_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// begin sends the beginning of a request and no more.
func (e *edge) begin(path, token string, length, sent int) net.Conn {
	e.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(settle)); err != nil {
		e.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Length: %d\r\n\r\n%s", path, token, length, strings.Repeat(" ", sent)); err != nil {
		e.t.Fatal(err)
	}
	return c
}

// TestBodyOfUnknown shows that a large body is not held for a token that is not
// good, and that the refusal is about the token.
func TestBodyOfUnknown(t *testing.T) {
	t.Parallel()
	e := startWith(t, map[string]string{"MICRO_GATEWAY_BODY_LIMIT": "16777216"})
	for _, token := range []string{"Bearer garbage", "Bearer mtk_garbage", "Basic garbage"} {
		t.Run(token, func(t *testing.T) {
			t.Parallel()
			rsp, err := http.ReadResponse(bufio.NewReader(e.begin("/platform/v1/namespaces", token, 1<<20, 32<<10)), nil)
			if err != nil {
				t.Fatal(err)
			}
			rsp.Body.Close()
			if rsp.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s, want the token to be refused", rsp.Status)
			}
		})
	}
}

// TestHeldBodies shows that a namespace can have so much of its bodies in memory
// only, and that small ones go on.
func TestHeldBodies(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/echo/Echo/Call", "/platform/v1/namespaces"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			e := startWith(t, map[string]string{"MICRO_GATEWAY_BODY_LIMIT": "16777216", "MICRO_GATEWAY_BUFFERED": "200000"})
			large := `{"name":"` + strings.Repeat("x", 40<<10) + `"}`
			stalled := e.begin(path, "Bearer "+e.token, 1<<20, 100<<10)
			e.until(func() bool {
				status, _, _ := e.do("POST", "/echo/Echo/Call", large)
				return status == http.StatusTooManyRequests
			})
			if status, _, text := e.do("POST", "/echo/Echo/Call", "{}"); status != http.StatusOK {
				t.Errorf("a small one: %d %s", status, text)
			}
			stalled.Close()
			e.until(func() bool {
				status, _, _ := e.do("POST", "/echo/Echo/Call", large)
				return status == http.StatusOK
			})
		})
	}
}
