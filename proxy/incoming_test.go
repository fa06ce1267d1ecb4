package proxy_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/proxy/edge/edgetest"
)

// TestUnreadAnswers shows that a call whose answer its client does not take keeps
// its place, that such a client is cut off after a while, and that nothing is
// lost by it.
func TestUnreadAnswers(t *testing.T) {
	t.Parallel()
	const calls = 8
	e := startWith(t, edgetest.New(t), map[string]string{"MICRO_PROXY_IN_FLIGHT": fmt.Sprint(calls), "MICRO_PROXY_UNREAD": "3s"})
	e.Register("acme", edgetest.NewService(t, "echo").Entry())
	token := e.User(t, "acme")
	e.until(codes.OK, "/echo.Echo/Call", bearer(token)...)
	for _, tt := range []struct {
		name  string
		bytes int
	}{{"a few bytes", 2}, {"many", 50 << 10}} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := attack(e.conn.Target()[len("passthrough:///"):], token, http2.Setting{ID: http2.SettingInitialWindowSize})
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			body := `"` + strings.Repeat("x", tt.bytes-2) + `"`
			e.fill(a, body, "{}", bearer(token))
			select {
			case <-a.cut:
			case <-time.After(settle):
				t.Error("the client was not cut off")
			}
			e.until(codes.OK, "/echo.Echo/Call", bearer(token)...)
			var open []string
			for range calls {
				if _, err := e.call("/echo.Echo/Call", "{}", bearer(token)...); err != nil {
					open = append(open, err.Error())
				}
			}
			if len(open) > 0 {
				t.Errorf("places are lost: %v", open)
			}
		})
	}
}

// TestBuffered shows that a namespace can have so many bytes under way only, and
// that others do not meet its limit.
func TestBuffered(t *testing.T) {
	t.Parallel()
	e := startWith(t, edgetest.New(t), map[string]string{"MICRO_PROXY_BUFFERED": "300000", "MICRO_PROXY_UNREAD": "3s"})
	service := edgetest.NewService(t, "echo").Entry()
	e.Register("acme", service)
	e.Register("other", service)
	token := e.User(t, "acme")
	acme, other := bearer(token), bearer(e.User(t, "other"))
	e.until(codes.OK, "/echo.Echo/Call", acme...)
	e.until(codes.OK, "/echo.Echo/Call", other...)
	large := `"` + strings.Repeat("x", 50<<10) + `"`
	a, err := attack(e.conn.Target()[len("passthrough:///"):], token, http2.Setting{ID: http2.SettingInitialWindowSize})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	e.fill(a, large, large, acme)
	if _, err := e.call("/echo.Echo/Call", "{}", acme...); err != nil {
		t.Errorf("a small call: %v", err)
	}
	if _, err := e.call("/echo.Echo/Call", large, other...); err != nil {
		t.Errorf("a large call of another namespace: %v", err)
	}
	<-a.cut
	for end := time.Now().Add(settle); ; {
		_, err := e.call("/echo.Echo/Call", large, acme...)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("a large call after that: %v", err)
		}
	}
}

// fill has an attacker call again and again until another call is refused.
func (e *edge) fill(a *attacker, body, another string, md []string) {
	e.t.Helper()
	for id := uint32(1); id < 100; id += 2 {
		if err := a.unary(id, body); err != nil {
			e.t.Fatal(err)
		}
		_, err := e.call("/echo.Echo/Call", another, md...)
		if errors.Code(err) == codes.ResourceExhausted {
			return
		}
		if err != nil {
			e.t.Fatal(err)
		}
		<-time.After(20 * time.Millisecond) // its calls are on their way
	}
	e.t.Fatal("there is room for all calls")
}

// unary makes a call with one message on a stream of its own.
func (a *attacker) unary(id uint32, body string) error {
	if err := a.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: a.headers, EndHeaders: true}); err != nil {
		return err
	}
	message := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body))), body...)
	for len(message) > 0 {
		n := min(len(message), 16<<10)
		if err := a.WriteData(id, n == len(message), message[:n]); err != nil {
			return err
		}
		message = message[n:]
	}
	return nil
}
