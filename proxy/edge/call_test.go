package edge

import (
	"io"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/internal/identity"
)

// sent counts what a stream sends.
type sent struct {
	grpc.ClientStream
	messages, ends int
}

func (s *sent) SendMsg(any) error { s.messages++; return nil }
func (s *sent) CloseSend() error  { s.ends++; return nil }

// TestOnlyMessage shows that what follows the only message of a stream does not
// reach gRPC, which would end the stream.
func TestOnlyMessage(t *testing.T) {
	t.Parallel()
	out := &sent{}
	s := &Stream{stream: out, halfClose: true}
	if err := s.Send([]byte("{}")); err != nil {
		t.Fatal(err)
	}
	if err := s.Send([]byte("{}")); err != io.EOF || out.messages != 1 || out.ends != 1 {
		t.Errorf("the second message: %v, %d sent, %d ends", err, out.messages, out.ends)
	}
}

// TestBound shows how long each kind of call may take.
func TestBound(t *testing.T) {
	t.Parallel()
	platform, jane := &grpc.ClientConn{}, &identity.Caller{ID: "jane"}
	const day = "86400000000000"
	for _, tt := range []struct {
		name    string
		call    *Call
		timeout string
		want    time.Duration // 0 is for ever
	}{
		{"unary", &Call{Caller: jane, target: target{stream: unary}}, "", unaryTimeout},
		{"unary, asked for", &Call{Caller: jane, target: target{stream: unary}}, "5000000000", 5 * time.Second},
		{"a service's unary, a day", &Call{Caller: jane, target: target{stream: unary}}, day, 24 * time.Hour},
		{"stream", &Call{Caller: jane, target: target{stream: streaming}}, "", 0},
		{"the platform's stream", &Call{Caller: jane, target: target{stream: streaming, component: platform}}, "", 0},
		{"nobody's unary", &Call{target: target{stream: unary}}, "", 30 * time.Second},
		{"nobody's unary, a day", &Call{target: target{stream: unary, component: platform}}, day, 30 * time.Second},
		{"nobody's unary, short", &Call{target: target{stream: unary, component: platform}}, "5000000000", 5 * time.Second},
		{"nobody's stream of the platform", &Call{target: target{stream: streaming, component: platform}}, "", 30 * time.Second},
		{"nobody's stream", &Call{target: target{stream: streaming}}, "", time.Hour},
		{"nobody's, of a kind not known", &Call{target: target{}}, day, time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			md := metadata.MD{}
			if tt.timeout != "" {
				md.Set("timeout", tt.timeout)
			}
			tt.call.edge = &Edge{open: newOpen(), opts: Options{AnonymousCall: 30 * time.Second, AnonymousStream: time.Hour}}
			ctx, cancel := tt.call.Bound(t.Context(), md)
			defer cancel()
			end, bounded := ctx.Deadline()
			if left := time.Until(end); bounded != (tt.want > 0) || bounded && (left > tt.want || left < tt.want-time.Second) {
				t.Errorf("%v, %s left, want %s", bounded, left, tt.want)
			}
		})
	}
}
