package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestSlowClient shows that clients which trickle, or send more than is meant,
// hold nothing for long.
func TestSlowClient(t *testing.T) {
	t.Parallel()
	e := start(t)
	for _, tt := range []struct {
		name, send string
		within     time.Duration
		status     int // 0: cut off without an answer
	}{
		{"half of the headers", "GET / HTTP/1.1\r\nHost: x\r\nX-A: ", 10 * time.Second, 0},
		{"nothing", "", 10 * time.Second, 0},
		{"half of the body", "POST /echo/call HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + e.token + "\r\nContent-Length: 100\r\n\r\n{", 45 * time.Second, http.StatusRequestTimeout},
		{"large headers", "GET / HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 40<<10) + "\r\n\r\n", 5 * time.Second, http.StatusRequestHeaderFieldsTooLarge},
		{"a body that is announced too large", "POST /echo/call HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + e.token + "\r\nContent-Length: 1000000000\r\n\r\n", 5 * time.Second, http.StatusRequestEntityTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.within > 10*time.Second && testing.Short() {
				t.Skip("waits for the deadline of a body")
			}
			c, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(tt.within)); err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Fprint(c, tt.send); err != nil {
				t.Fatal(err)
			}
			rsp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if tt.status == 0 {
				if err != io.EOF && err != io.ErrUnexpectedEOF {
					t.Errorf("%v %v, want the connection cut", rsp, err)
				}
				return
			}
			if err != nil || rsp.StatusCode != tt.status {
				t.Fatalf("%v %v, want %d", rsp, err, tt.status)
			}
			rsp.Body.Close()
		})
	}
}
