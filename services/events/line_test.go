package events

import (
	"context"
	"io"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	eventspb "github.com/micro/platform/proto/events"
)

// batchStream is a ConsumeBatch whose client is the test.
type batchStream struct {
	grpc.ServerStream

	ctx context.Context
	in  chan *eventspb.ConsumeBatchRequest
	out chan *eventspb.EventBatch
}

func (s batchStream) Context() context.Context { return s.ctx }

func (s batchStream) Recv() (*eventspb.ConsumeBatchRequest, error) {
	select {
	case m, ok := <-s.in:
		if !ok {
			return nil, io.EOF
		}
		return m, nil
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
}

func (s batchStream) Send(b *eventspb.EventBatch) error {
	select {
	case s.out <- b:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// TestConsumeBatch shows events in common messages, answers in common ones, and
// that what was answered when the requests end is done.
func TestConsumeBatch(t *testing.T) {
	t.Parallel()
	p, ns := setup(t)
	began := time.Now().Unix()
	batch := &eventspb.PublishBatchRequest{Topic: "orders"}
	want := numbers(0, 1000)
	for _, n := range want {
		batch.Events = append(batch.Events, &eventspb.Event{Payload: []byte(n)})
	}
	if _, err := p.PublishBatch(as(t.Context(), ns), batch); err != nil {
		t.Fatal(err)
	}
	foreign := publish(t, p, ns, "other", "x")[0]
	s := batchStream{ctx: as(t.Context(), ns), in: make(chan *eventspb.ConsumeBatchRequest, 1), out: make(chan *eventspb.EventBatch)}
	ended := make(chan error, 1)
	go func() { ended <- p.ConsumeBatch(s) }()
	open := manual("orders", "g", time.Minute, -1)
	open.Offset = began
	s.in <- &eventspb.ConsumeBatchRequest{Open: open}
	var got []string
	messages := 0
	for len(got) < len(want)-1 {
		select {
		case b := <-s.out:
			messages++
			answer := &eventspb.ConsumeBatchRequest{Done: []string{foreign, "no id"}}
			for _, e := range b.GetEvents() {
				if got = append(got, string(e.GetPayload())); len(got) < len(want) {
					answer.Done = append(answer.Done, e.GetId())
				}
			}
			s.in <- answer
		case err := <-ended:
			t.Fatal(err)
		case <-time.After(patience):
			t.Fatalf("%d events of %d came", len(got), len(want))
		}
	}
	if !slices.Equal(got, want[:len(got)]) {
		t.Errorf("got %v", got)
	}
	if messages > len(want)/2 {
		t.Errorf("%d messages for %d events", messages, len(want))
	}
	close(s.in)
	for over := false; !over; {
		select {
		case <-s.out: // the last, if it was alone
		case err := <-ended:
			if over = true; err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Fatal("it does not end with its requests")
		}
	}
	g := groupOf(t, p, ns, "orders", "g")
	if g.GetLag()+g.GetPending() != 1 {
		t.Errorf("lag %d, pending %d, want 1 together", g.GetLag(), g.GetPending())
	}
}

func TestConsumeBatchWantsAnOpening(t *testing.T) {
	t.Parallel()
	p, ns := setup(t)
	s := batchStream{ctx: as(t.Context(), ns), in: make(chan *eventspb.ConsumeBatchRequest, 1)}
	s.in <- &eventspb.ConsumeBatchRequest{Done: []string{"x"}}
	wantCode(t, p.ConsumeBatch(s), codes.InvalidArgument, "Missing topic")
	close(s.in)
	wantCode(t, p.ConsumeBatch(s), codes.InvalidArgument, "Missing topic")
}
