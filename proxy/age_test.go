package proxy_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/proxy/edge/edgetest"
)

// TestOldConnections shows that a client opens a new connection when its own is
// old, that no call fails by it, and that a stream stays where it is.
func TestOldConnections(t *testing.T) {
	t.Parallel()
	e := startWith(t, edgetest.New(t), map[string]string{"MICRO_PROXY_CONNECTION_AGE": "100ms"})
	e.Register("acme", edgetest.NewService(t, "echo").Entry())
	user := bearer(e.User(t, "acme"))
	e.until(codes.OK, "/echo.Echo/Call", user...)
	var opened atomic.Int32
	conn := dialWith(t, e.conn.Target()[len("passthrough:///"):], func(ctx context.Context, address string) (net.Conn, error) {
		opened.Add(1)
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	})
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), user...), settle)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/echo.Echo/Chat", edgetest.Codec())
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for opened.Load() < 5 {
				in, out := []byte("{}"), []byte(nil)
				if err := conn.Invoke(ctx, "/echo.Echo/Call", &in, &out, edgetest.Codec()); err != nil {
					t.Errorf("a call failed on connection %d: %v", opened.Load(), err)
					return
				}
			}
		})
	}
	all.Wait()
	var got []byte
	if err := stream.SendMsg([]byte("still here")); err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(&got); err != nil || string(got) != "still here" {
		t.Errorf("the stream of the first connection: %q, %v", got, err)
	}
}
