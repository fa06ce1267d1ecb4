package edge

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
)

// losing is a stream that loses what it is sent, as gRPC does when its client has
// canceled it, or is gone.
type losing struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // a stream's
}

func (d losing) Context() context.Context { return d.ctx }
func (losing) SendMsg(any) error          { return nil }

// TestDroppedAnswer shows that a call whose answer is lost gives back what it
// holds: at once if it was canceled, at the end of the connection otherwise.
func TestDroppedAnswer(t *testing.T) {
	t.Parallel()
	for _, canceled := range []bool{true, false} {
		conn, other := net.Pipe()
		defer other.Close()
		its := &client{Conn: conn, calls: map[*incoming]bool{}}
		ctx, cancel := context.WithCancel(peer.NewContext(t.Context(), &peer.Peer{AuthInfo: from{client: its}}))
		defer cancel()
		e := &Edge{opts: Options{Unread: time.Hour}, inFlight: NewShares(1, 0), buffered: NewShares(1<<20, 0)}
		leave, err := e.inFlight.Enter("acme", false)
		if err != nil {
			t.Fatal(err)
		}
		s := newIncoming(losing{ctx: ctx}, &Call{edge: e, Namespace: "acme", done: leave})
		if err := s.SendMsg(bytesFrame(make([]byte, 100<<10))); err != nil {
			t.Fatal(err)
		}
		if canceled {
			cancel()
		}
		s.finish()
		if open := e.inFlight.taken() == 1; open == canceled {
			t.Errorf("canceled %v: the call is open: %v", canceled, open)
		}
		if its.Close(); e.inFlight.taken()+e.buffered.taken() != 0 {
			t.Errorf("canceled %v: something is held after the end of the connection", canceled)
		}
	}
}
