package gateway_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// TestStream shows the messages of a stream one after the other, and errors
// before and after the first.
func TestStream(t *testing.T) {
	t.Parallel()
	e := start(t)
	for _, tt := range []struct {
		name, path, body string
		status           int
		want             string
	}{
		{"messages", "/echo/Echo/Stream", `{"b":1,"a":2}`, 200, `{"b":1,"a":2}{"b":1,"a":2}{"b":1,"a":2}`},
		{"error", "/echo/Echo/Chat", `{"id":"echo","code":409,"detail":"no"}`, 409, `{"id":"echo","code":409,"detail":"no","status":""}`},
		{"bad body", "/echo/Echo/Stream", `[]`, 400, "must be a JSON object"},
		{"the platform's", "/registry/Registry/Watch", `{"service":"echo"}`, 200, `"name":"echo"`},
	} {
		status, _, body := e.do("POST", tt.path, tt.body)
		if status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s = %d %s, want %d %s", tt.name, status, body, tt.status, tt.want)
		}
	}
}

// TestWebSocket shows a frame per message both ways, and how a service's error
// and a client's mistake end it.
func TestWebSocket(t *testing.T) {
	t.Parallel()
	e := start(t)
	dial := func(path string) (*websocket.Conn, *http.Response, error) {
		ctx, cancel := context.WithTimeout(t.Context(), settle)
		t.Cleanup(cancel)
		return websocket.Dial(ctx, strings.Replace(e.url, "http", "ws", 1)+path, &websocket.DialOptions{
			HTTPHeader: http.Header{"Authorization": {"Bearer " + e.token}, "Origin": {"http://elsewhere.example"}}, Subprotocols: []string{"mine"},
		})
	}
	for _, tt := range []struct {
		name, path string
		send       []string
		want       []string
		status     websocket.StatusCode
	}{
		{"end of service", "/echo/Echo/Stream", []string{`{"a":1}`}, []string{`{"a":1}`, `{"a":1}`, `{"a":1}`}, websocket.StatusNormalClosure},
		{"both ways, then an error", "/echo/Echo/Chat", []string{`{"a":1}`, `{"a":2}`, `{"id":"echo","code":404,"detail":"no"}`}, []string{`{"a":1}`, `{"a":2}`, `{"id":"echo","code":404,"detail":"no","status":""}`}, websocket.StatusInternalError},
		{"no JSON", "/echo/Echo/Chat", []string{`{"a":`}, []string{"invalid JSON at byte 5"}, websocket.StatusInvalidFramePayloadData},
		{"too large", "/echo/Echo/Chat", []string{`{"a":"` + strings.Repeat("x", 1<<20) + `"}`}, nil, websocket.StatusMessageTooBig},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, _, err := dial(tt.path)
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseNow() //nolint:errcheck // a test
			if c.Subprotocol() != "mine" {
				t.Errorf("subprotocol %q", c.Subprotocol())
			}
			for _, m := range tt.send {
				if err := c.Write(t.Context(), websocket.MessageText, []byte(m)); err != nil {
					t.Fatal(err)
				}
			}
			for _, want := range tt.want {
				if _, m, err := c.Read(t.Context()); err != nil || !strings.Contains(string(m), want) {
					t.Fatalf("%s, %v, want %s", m, err, want)
				}
			}
			if _, m, err := c.Read(t.Context()); websocket.CloseStatus(err) != tt.status {
				t.Errorf("%s, %v, want it closed with %d", m, err, tt.status)
			}
		})
	}
	t.Run("no stream", func(t *testing.T) {
		_, rsp, err := dial("/echo/Echo/Call")
		if err == nil || rsp == nil || rsp.StatusCode != http.StatusOK {
			t.Errorf("%v, %v, want an ordinary answer", rsp, err)
		}
	})
	t.Run("not let in", func(t *testing.T) {
		_, rsp, err := dial("/nothere/Echo/Chat")
		if err == nil || rsp == nil || rsp.StatusCode != http.StatusNotFound {
			t.Errorf("%v, %v, want 404", rsp, err)
		}
	})
}

// TestWebSocketOfPage shows that a page, which cannot set headers, says who it is
// in subprotocols, and that the service hears nothing of them.
func TestWebSocketOfPage(t *testing.T) {
	t.Parallel()
	e := start(t)
	url := strings.Replace(e.url, "http", "ws", 1) + "/echo/Echo/Chat"
	for _, tt := range []struct {
		name      string
		protocols []string
		status    int
	}{
		{"token", []string{"micro", "bearer." + e.token}, http.StatusSwitchingProtocols},
		{"token and its namespace", []string{"micro", "bearer." + e.token, "namespace.acme"}, http.StatusSwitchingProtocols},
		{"foreign namespace", []string{"micro", "bearer." + e.token, "namespace.other"}, http.StatusForbidden},
		{"bad token", []string{"micro", "bearer.x", "namespace.acme"}, http.StatusUnauthorized},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), settle)
		c, rsp, err := websocket.Dial(ctx, url, &websocket.DialOptions{Subprotocols: tt.protocols})
		cancel()
		if rsp == nil || rsp.StatusCode != tt.status {
			t.Errorf("%s: %v, %v, want %d", tt.name, rsp, err, tt.status)
			continue
		}
		if err == nil {
			if c.Subprotocol() != "micro" {
				t.Errorf("%s: subprotocol %q", tt.name, c.Subprotocol())
			}
			c.CloseNow() //nolint:errcheck // a test
		}
	}
}

// TestEvents shows a stream as server-sent events, with what ended it.
func TestEvents(t *testing.T) {
	t.Parallel()
	e := start(t)
	for _, tt := range []struct {
		name, method, path, body, want string
	}{
		{"end", "GET", "/echo/Echo/Stream?a=1", "", "data: {\"a\":1}\n\ndata: {\"a\":1}\n\ndata: {\"a\":1}\n\nevent: end\ndata: {}\n\n"},
		{"error", "POST", "/echo/Echo/Late", `{"code":409}`, "data: {\"code\":409}\n\nevent: error\ndata: {\"id\":\"echo\",\"code\":409,\"detail\":\"late\",\"status\":\"\"}\n\n"},
	} {
		status, header, body := e.do(tt.method, tt.path, tt.body, "Accept", "text/event-stream")
		if status != http.StatusOK || body != tt.want || header.Get("Content-Type") != "text/event-stream" {
			t.Errorf("%s = %d %s %q, want %q", tt.name, status, header.Get("Content-Type"), body, tt.want)
		}
	}
	if status, header, body := e.do("POST", "/echo/Echo/Chat", `{"id":"echo","code":409,"detail":"no"}`, "Accept", "text/event-stream"); status != http.StatusConflict || header.Get("Content-Type") != "application/json" {
		t.Errorf("an error before the first message = %d %s %s", status, header.Get("Content-Type"), body)
	}
	if status, _, body := e.do("POST", "/echo/Echo/Late", `{"code":409}`); status != http.StatusOK || body != `{"code":409}{"id":"echo","code":409,"detail":"late","status":""}` {
		t.Errorf("an error after the first message = %d %s", status, body)
	}
}

// TestSilentStream shows that an answer begins although no message has come,
// and that a client that leaves ends the call.
func TestSilentStream(t *testing.T) {
	t.Parallel()
	e := start(t)
	for _, path := range []string{"/echo/Echo/Silent", "/echo/Echo/Wait"} {
		ctx, leave := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url+path, strings.NewReader(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+e.token)
		if path == "/echo/Echo/Silent" {
			rsp, err := http.DefaultClient.Do(req)
			if err != nil || rsp.StatusCode != http.StatusOK {
				t.Fatalf("%s: %v %v", path, rsp, err)
			}
			leave()
			rsp.Body.Close()
		} else {
			before := e.service.Calls.Load()
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				if rsp, err := http.DefaultClient.Do(req); err == nil {
					rsp.Body.Close()
					t.Errorf("%s answers %d", path, rsp.StatusCode)
				}
			}()
			e.until(func() bool { return e.service.Calls.Load() > before })
			leave()
			<-gone
		}
		e.until(func() bool { return e.service.Open.Load() == 0 })
	}
}

// TestStalledReader shows that a client which reads nothing does not hold a
// stream for ever.
func TestStalledReader(t *testing.T) {
	t.Parallel()
	e := startWith(t, map[string]string{"MICRO_GATEWAY_UNREAD": "1s"})
	c, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := fmt.Fprintf(c, "GET /echo/Echo/Flood HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", e.token); err != nil {
		t.Fatal(err)
	}
	e.until(func() bool { return e.service.Open.Load() == 1 })
	end := time.After(settle)
	for e.service.Open.Load() > 0 {
		select {
		case <-end:
			t.Fatal("the stream is still open")
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// TestSilentWebSocket shows that one without an account, which says nothing, is
// cut off.
func TestSilentWebSocket(t *testing.T) {
	t.Parallel()
	e := startWith(t, map[string]string{"MICRO_GATEWAY_FIRST_MESSAGE": "200ms"})
	e.Public("acme")
	ctx, cancel := context.WithTimeout(t.Context(), settle)
	defer cancel()
	dial := func(h http.Header) *websocket.Conn {
		t.Helper()
		var c *websocket.Conn
		e.until(func() (open bool) {
			conn, _, err := websocket.Dial(ctx, strings.Replace(e.url, "http", "ws", 1)+"/echo/Echo/Chat", &websocket.DialOptions{HTTPHeader: h})
			c = conn
			return err == nil
		})
		t.Cleanup(func() { c.CloseNow() }) //nolint:errcheck // a test
		return c
	}
	member := dial(http.Header{"Authorization": {"Bearer " + e.token}})
	anonymous := dial(http.Header{"Micro-Namespace": {"acme"}})
	began := time.Now()
	if _, m, err := anonymous.Read(ctx); err == nil || ctx.Err() != nil || time.Since(began) > 3*time.Second {
		t.Errorf("%s, %v after %s, want it cut off", m, err, time.Since(began))
	}
	if err := member.Write(ctx, websocket.MessageText, []byte(`{"a":1}`)); err != nil {
		t.Fatal(err)
	}
	if _, m, err := member.Read(ctx); err != nil || string(m) != `{"a":1}` {
		t.Errorf("a member's: %s, %v", m, err)
	}
}
