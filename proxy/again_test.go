package proxy_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/framework/errors"
	registrypb "github.com/micro/platform/proto/registry"
	"github.com/micro/platform/proxy/edge/edgetest"
)

// both registers two services as the nodes of one.
func (e *edge) both(a, b *edgetest.Service) *registrypb.Service {
	entry := a.Entry()
	entry.Nodes = append(entry.Nodes, b.Entry().GetNodes()...)
	e.Register("acme", entry)
	return entry
}

// storm makes calls from many sides until stop is called, which answers how many
// there were and what went wrong.
func (e *edge) storm(method string, pairs ...string) (stop func() (calls int64, failed []error)) {
	var work sync.WaitGroup
	var mu sync.Mutex
	var failed []error
	var calls atomic.Int64
	done := make(chan struct{})
	for range 16 {
		work.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				calls.Add(1)
				if _, err := e.call(method, "{}", pairs...); err != nil {
					mu.Lock()
					failed = append(failed, err)
					mu.Unlock()
				}
			}
		})
	}
	return func() (int64, []error) {
		close(done)
		work.Wait()
		return calls.Load(), failed
	}
}

// TestNodeThatLeaves has a node end as a good server does, time and again, before
// the registry says so: no call fails.
func TestNodeThatLeaves(t *testing.T) {
	t.Parallel()
	e := start(t)
	token := e.User(t, "acme")
	stays, leaves := edgetest.NewService(t, "echo"), edgetest.NewService(t, "echo")
	e.both(stays, leaves)
	e.until(codes.OK, "/echo.Echo/Call", bearer(token)...)
	stop := e.storm("/echo.Echo/Call", bearer(token)...)
	for range 10 {
		e.busy(leaves)
		leaves.Leave()
		leaves = edgetest.NewService(t, "echo")
		e.both(stays, leaves)
	}
	if calls, failed := stop(); len(failed) > 0 || calls < 100 {
		t.Errorf("%d of %d calls failed, the first: %v", len(failed), calls, append(failed, nil)[0])
	}
}

// busy waits until calls reach a service.
func (e *edge) busy(s *edgetest.Service) {
	e.t.Helper()
	before, tick := s.Calls.Load(), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for late := time.After(settle); s.Calls.Load() < before+20; {
		select {
		case <-tick.C:
		case <-late:
			e.t.Fatalf("no calls reach %s", s.Address)
		}
	}
}

// TestNodeThatDies kills a node in the middle of calls. Those in its hands fail,
// as nobody knows how far they came, and no others; of an endpoint that is
// idempotent none does.
func TestNodeThatDies(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		idempotent bool
		most       int
	}{{"any", false, 16}, {"idempotent", true, 0}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := start(t)
			token := e.User(t, "acme")
			stays, dies := edgetest.NewService(t, "echo"), edgetest.NewService(t, "echo")
			entry := e.both(stays, dies)
			if tt.idempotent {
				entry.Endpoints[0].Metadata = map[string]string{"idempotent": "true"}
				e.Register("acme", entry)
			}
			e.until(codes.OK, "/echo.Echo/Call", bearer(token)...)
			stop := e.storm("/echo.Echo/Call", bearer(token)...)
			e.busy(dies)
			dies.Stop()
			for range 10 {
				e.busy(stays)
			}
			calls, failed := stop()
			if len(failed) > tt.most {
				t.Errorf("%d of %d calls failed, the first: %v", len(failed), calls, failed[0])
			}
			for _, err := range failed {
				if errors.Code(err) != codes.Unavailable {
					t.Errorf("a call of a node that died = %v", err)
				}
			}
		})
	}
}

// TestStreamOfNodeThatWasReplaced shows what a client is told whose stream outlasts
// its node.
func TestStreamOfNodeThatWasReplaced(t *testing.T) {
	t.Parallel()
	e := start(t)
	token := e.User(t, "acme")
	old, next := edgetest.NewService(t, "echo"), edgetest.NewService(t, "echo")
	e.Register("acme", old.Entry())
	e.until(codes.OK, "/echo.Echo/Call", bearer(token)...)
	ctx := metadata.AppendToOutgoingContext(t.Context(), bearer(token)...)
	s, err := e.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/echo.Echo/Chat", edgetest.Codec())
	if err != nil {
		t.Fatal(err)
	}
	message := []byte(`{}`)
	if err := s.SendMsg(&message); err != nil {
		t.Fatal(err)
	}
	if err := s.RecvMsg(&message); err != nil {
		t.Fatal(err)
	}
	e.Register("acme", next.Entry())
	for next.Calls.Load() == 0 {
		e.until(codes.OK, "/echo.Echo/Call", bearer(token)...)
	}
	old.Stop()
	err = s.RecvMsg(&message)
	if errors.Code(err) != codes.Unavailable || s.Trailer().Get("micro-reason")[0] != "replaced" {
		t.Errorf("the stream ended with %v, %v", err, s.Trailer())
	}
}
