package proxy_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/proxy"
	"github.com/micro/platform/proxy/edge/edgetest"
)

// TestAnonymousCallsEnd shows that a call without an account ends soon when nothing
// is said, and in any case after a while, whatever its client asks for; those of
// accounts do not.
func TestAnonymousCallsEnd(t *testing.T) {
	t.Parallel()
	p := edgetest.New(t)
	address := freeAddress(t)
	p.Run(t, map[string]string{"MICRO_PROXY_ADDRESS": address, "MICRO_PROXY_CONTAINER_ADDRESS": "none",
		"MICRO_PROXY_FIRST_MESSAGE": "300ms", "MICRO_PROXY_ANONYMOUS_CALL": "600ms", "MICRO_PROXY_ANONYMOUS_STREAM": "900ms"}, proxy.Component)
	e := &edge{p, t, dial(t, address)}
	p.Register("micro", edgetest.NewService(t, "echo").Entry())
	p.Public("micro")
	e.until(codes.OK, "/echo.Echo/Call")
	member := bearer(p.User(t, "micro"))
	for _, tt := range []struct {
		name, method string
		speaks       bool
		metadata     []string
		most         time.Duration // 0: it goes on
		detail       string
	}{
		{"a stream, silent", "/echo.Echo/Chat", false, nil, 300 * time.Millisecond, "the first message did not come within 300ms"},
		{"a call, silent", "/echo.Echo/Call", false, nil, 300 * time.Millisecond, "the first message did not come within 300ms"},
		{"the platform, silent", "/auth.Auth/Inspect", false, nil, 300 * time.Millisecond, "the first message did not come within 300ms"},
		{"a call that takes its time", "/echo.Echo/Wait", true, []string{"timeout", "60000000000"}, 600 * time.Millisecond, "context deadline exceeded"},
		{"a stream", "/echo.Echo/Chat", true, nil, 900 * time.Millisecond, "context deadline exceeded"},
		{"a member's stream, silent", "/echo.Echo/Chat", false, member, 0, ""},
		{"a member's stream", "/echo.Echo/Chat", true, member, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), tt.metadata...))
			defer cancel()
			began := time.Now()
			s, err := e.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, tt.method, edgetest.Codec())
			if err != nil {
				t.Fatal(err)
			}
			if tt.speaks {
				if err := s.SendMsg([]byte("{}")); err != nil {
					t.Fatal(err)
				}
			}
			ended := make(chan error, 1)
			go func() {
				var out []byte
				for err == nil {
					err = s.RecvMsg(&out)
				}
				ended <- err
			}()
			select {
			case err := <-ended:
				took := time.Since(began)
				// The service may say that it is done before the edge does.
				told := err == io.EOF || errors.Code(err) == codes.DeadlineExceeded && strings.Contains(errors.FromError(err).Detail, tt.detail)
				if tt.most == 0 || !told || took < tt.most || took > tt.most+5*time.Second {
					t.Errorf("after %s: %v, want %q after %s", took, err, tt.detail, tt.most)
				}
			case <-time.After(settle):
				t.Error("it goes on")
			case <-after(tt.most == 0, 1500*time.Millisecond): // longer than an anonymous call has
			}
		})
	}
}

// TestAnonymousLookUps shows that anonymous callers make the registry look for a bounded
// number of names, where they may call, and that they hear the same beyond it.
func TestAnonymousLookUps(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.Register("micro", edgetest.NewService(t, "echo").Entry())
	e.Public("micro")
	e.until(codes.OK, "/echo.Echo/Call")
	before := e.Asked()
	const names = 300
	for i := range names {
		_, err := e.call(fmt.Sprintf("/no%d.No/Call", i), "{}")
		if errors.Code(err) != codes.NotFound || !strings.Contains(err.Error(), fmt.Sprintf("service no%d: route not found", i)) {
			t.Fatalf("%d: %v", i, err)
		}
	}
	if n := e.Asked() - before; n > names/2 {
		t.Errorf("%d names: the registry was asked %d times", names, n)
	}
	e.RegisterQuietly("micro", edgetest.NewService(t, "quiet").Entry())
	if _, err := e.call("/quiet.Echo/Call", "{}", bearer(e.User(t, "micro"))...); err != nil {
		t.Errorf("a member: %v", err)
	}
	if _, err := e.call("/echo.Echo/Call", "{}"); err != nil {
		t.Errorf("a service that is known: %v", err)
	}
}

// after is a channel that is ready after a while, or never.
func after(ever bool, d time.Duration) <-chan time.Time {
	if !ever {
		return nil
	}
	return time.After(d)
}
