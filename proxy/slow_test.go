package proxy_test

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/proxy/proxytest"
)

// TestSlowNode has one of two instances answer late, behind a network that is
// slow. Hardly a call goes there.
func TestSlowNode(t *testing.T) {
	t.Parallel()
	e := start(t)
	quick, slow := proxytest.NewService(t, "echo"), proxytest.NewService(t, "echo")
	late := newLateness(t, slow.Address)
	entry := quick.Entry()
	far := slow.Entry().GetNodes()[0]
	far.Address = late.address
	entry.Nodes = append(entry.Nodes, far)
	e.Register("acme", entry)
	user := bearer(e.User(t, "acme"))
	e.until(codes.OK, "/echo.Echo/Call", user...)

	late.by.Store(int64(200 * time.Millisecond))
	before := slow.Calls.Load()
	const calls = 300
	for range calls {
		if _, err := e.call("/echo.Echo/Call", "{}", user...); err != nil {
			t.Fatal(err)
		}
	}
	if n := slow.Calls.Load() - before; n > calls/50 {
		t.Errorf("%d of %d calls went to the slow instance", n, calls)
	}
}

// lateness is a way to a service on which everything arrives late.
type lateness struct {
	address string
	by      atomic.Int64 // nanoseconds
}

func newLateness(t *testing.T, to string) *lateness {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	x := &lateness{address: l.Addr().String()}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				return
			}
			go x.carry(out, in)
			go x.carry(in, out)
		}
	}()
	return x
}

func (x *lateness) carry(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	for b := make([]byte, 64<<10); ; {
		n, err := from.Read(b)
		<-time.After(time.Duration(x.by.Load()))
		if _, werr := to.Write(b[:n]); err != nil || werr != nil {
			return
		}
	}
}
