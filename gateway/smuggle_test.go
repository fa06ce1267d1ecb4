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

// TestSmuggling sends requests that two parsers of HTTP could read in two ways
// (T27), each with a second request hidden behind it. None of the hidden ones is
// answered, none reaches a service, and what is not plain HTTP is refused.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	e := start(t)
	hidden := "POST /echo/hidden HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + e.token + "\r\nContent-Length: 2\r\n\r\n{}"
	post := "POST /echo/call HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + e.token + "\r\n"
	chunks := "2\r\n{}\r\n0\r\n\r\n"
	for _, tt := range []struct {
		name, send string
		status     int // 0: whichever the request gets, the hidden one is not answered
	}{
		{"both lengths, chunks", post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + hidden, 0},
		{"both lengths, the other way round", post + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n" + chunks + hidden, 0},
		{"two lengths", post + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}" + hidden, 400},
		{"two lengths in one", post + "Content-Length: 2, 3\r\n\r\n{}" + hidden, 400},
		{"a signed length", post + "Content-Length: +2\r\n\r\n{}" + hidden, 400},
		{"a negative length", post + "Content-Length: -2\r\n\r\n{}" + hidden, 400},
		{"a length in hexadecimals", post + "Content-Length: 0x2\r\n\r\n{}" + hidden, 400},
		{"space before the colon", post + "Content-Length : 2\r\n\r\n{}" + hidden, 400},
		{"space before the colon, chunks", post + "Transfer-Encoding : chunked\r\n\r\n" + chunks + hidden, 400},
		{"an encoding that is none", post + "Transfer-Encoding: xchunked\r\n\r\n" + chunks + hidden, 501},
		{"two encodings", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + chunks + hidden, 501},
		{"two encodings in one", post + "Transfer-Encoding: gzip, chunked\r\n\r\n" + chunks + hidden, 501},
		{"an encoding behind a control", post + "Transfer-Encoding: \x0bchunked\r\n\r\n" + chunks + hidden, 0},
		{"a name with a control", post + "Transfer\x00-Encoding: chunked\r\n\r\n" + chunks + hidden, 400},
		{"a folded header", post + "X-A: b\r\n Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}", 0},
		{"a bad chunk", post + "Transfer-Encoding: chunked\r\n\r\n2;\n{}\r\n0\r\n\r\n" + hidden, 0},
		{"a chunk's length with a sign", post + "Transfer-Encoding: chunked\r\n\r\n+2\r\n{}\r\n0\r\n\r\n" + hidden, 400},
		{"a chunk's length without an end", post + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}\r\n" + hidden, 400},
		{"two hosts", "GET /echo/call HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400},
		{"no host", "GET /echo/call HTTP/1.1\r\n\r\n", 400},
		{"another version", "GET /echo/call HTTP/1.2\r\nHost: x\r\n\r\n", 0},
		{"no version", "GET /echo/call\r\n\r\n", 400},
		{"space in the path", "GET /echo /call HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"an upgrade to HTTP/2", "GET /echo/call HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", 0},
		{"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(settle)); err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Fprint(c, tt.send); err != nil {
				t.Fatal(err)
			}
			r := bufio.NewReader(c)
			rsp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatalf("no answer: %v", err)
			}
			body, err := io.ReadAll(rsp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if tt.status != 0 && rsp.StatusCode != tt.status {
				t.Errorf("%s %s, want %d", rsp.Status, body, tt.status)
			}
			if err := c.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); err != nil { // what is kept alive says nothing
				t.Fatal(err)
			}
			if more, err := http.ReadResponse(r, nil); err == nil {
				t.Errorf("after %s, a second answer: %s", rsp.Status, more.Status)
				more.Body.Close()
			}
		})
	}
}
