package events

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/framework/client"
	"github.com/micro/platform/framework/errors"
	eventspb "github.com/micro/platform/proto/events"
)

// fakeEvents is events in small: a stream sends what it is told and then ends.
type fakeEvents struct {
	eventspb.UnimplementedStreamServer
	eventspb.UnimplementedStoreServer

	streams chan func(first *eventspb.ConsumeRequest, s grpc.BidiStreamingServer[eventspb.ConsumeRequest, eventspb.Event]) error

	mu        sync.Mutex
	published []*eventspb.PublishRequest
}

func (f *fakeEvents) Publish(_ context.Context, req *eventspb.PublishRequest) (*eventspb.PublishResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.published = append(f.published, req)
	return &eventspb.PublishResponse{Id: "1"}, nil
}

func (f *fakeEvents) Read(_ context.Context, req *eventspb.ReadRequest) (*eventspb.ReadResponse, error) {
	return &eventspb.ReadResponse{Events: []*eventspb.Event{{Id: "7", Topic: req.GetTopic(), Payload: []byte(`{"n":7}`), Timestamp: 1}}}, nil
}

func (f *fakeEvents) Consume(s grpc.BidiStreamingServer[eventspb.ConsumeRequest, eventspb.Event]) error {
	first, err := s.Recv()
	if err != nil {
		return err
	}
	select {
	case next := <-f.streams:
		return next(first, s)
	case <-s.Context().Done():
		return s.Context().Err()
	}
}

func setup(t *testing.T) (*fakeEvents, *Stream) {
	t.Helper()
	f := &fakeEvents{streams: make(chan func(*eventspb.ConsumeRequest, grpc.BidiStreamingServer[eventspb.ConsumeRequest, eventspb.Event]) error, 10)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	eventspb.RegisterStreamServer(s, f)
	eventspb.RegisterStoreServer(s, f)
	go s.Serve(l) //nolint:errcheck // ends with Stop
	t.Cleanup(s.Stop)
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return f, New(client.New(conn, client.Options{Token: func(context.Context) (string, error) { return "", nil }}))
}

func TestPublishAndRead(t *testing.T) {
	t.Parallel()
	f, s := setup(t)
	if err := s.Publish("orders", map[string]int{"n": 1}, WithMetadata(map[string]string{"k": "v"}), WithTimestamp(time.Unix(5, 0))); err != nil {
		t.Fatal(err)
	}
	if err := s.Publish("orders", []byte("raw")); err != nil {
		t.Fatal(err)
	}
	if err := s.Publish("orders", make(chan int)); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("a message that is no JSON: %v", err)
	}
	want := &eventspb.PublishRequest{Topic: "orders", Payload: []byte(`{"n":1}`), Metadata: map[string]string{"k": "v"}, Timestamp: 5}
	if !proto.Equal(f.published[0], want) || string(f.published[1].GetPayload()) != "raw" || f.published[1].GetTimestamp() == 0 {
		t.Errorf("published %v", f.published)
	}
	got, err := s.Read("orders", ReadLimit(1))
	if err != nil || len(got) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	var v struct{ N int }
	if err := got[0].Unmarshal(&v); err != nil || v.N != 7 || got[0].ID != "7" || got[0].Topic != "orders" {
		t.Errorf("%+v, %v", got[0], err)
	}
}

// TestConsumeResumes shows that a consumer without a group goes on after the last
// event when its connection is lost.
func TestConsumeResumes(t *testing.T) {
	t.Parallel()
	f, s := setup(t)
	began := time.Now().Unix()
	f.streams <- func(first *eventspb.ConsumeRequest, _ grpc.BidiStreamingServer[eventspb.ConsumeRequest, eventspb.Event]) error {
		if first.GetOffset() > 0 || first.GetAfter() != "" || !first.GetAutoAck() || first.GetRetryLimit() != -1 {
			t.Errorf("first request %v", first)
		}
		return status.Error(codes.Unavailable, "gone")
	}
	f.streams <- func(second *eventspb.ConsumeRequest, x grpc.BidiStreamingServer[eventspb.ConsumeRequest, eventspb.Event]) error {
		if second.GetOffset() < began {
			t.Errorf("what was published meanwhile is missed: %v", second)
		}
		return x.Send(&eventspb.Event{Id: "1", Payload: []byte("a")})
	}
	f.streams <- func(third *eventspb.ConsumeRequest, x grpc.BidiStreamingServer[eventspb.ConsumeRequest, eventspb.Event]) error {
		if third.GetAfter() != "1" || third.GetOffset() != 0 {
			t.Errorf("third request %v", third)
		}
		return status.Error(codes.OutOfRange, "expired")
	}
	f.streams <- func(fourth *eventspb.ConsumeRequest, x grpc.BidiStreamingServer[eventspb.ConsumeRequest, eventspb.Event]) error {
		if fourth.GetAfter() != "" || fourth.GetOffset() != 1 {
			t.Errorf("fourth request %v", fourth)
		}
		return x.Send(&eventspb.Event{Id: "2", Payload: []byte("b")})
	}
	f.streams <- func(*eventspb.ConsumeRequest, grpc.BidiStreamingServer[eventspb.ConsumeRequest, eventspb.Event]) error {
		return status.Error(codes.PermissionDenied, "no more")
	}
	events, err := s.Consume("orders", WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	var got string
	for e := range events {
		got += string(e.Payload)
	}
	if got != "ab" {
		t.Errorf("got %q", got)
	}
}

func TestAck(t *testing.T) {
	t.Parallel()
	f, s := setup(t)
	answers := make(chan *eventspb.AckRequest, 2)
	f.streams <- func(_ *eventspb.ConsumeRequest, x grpc.BidiStreamingServer[eventspb.ConsumeRequest, eventspb.Event]) error {
		for _, id := range []string{"1", "2"} {
			if err := x.Send(&eventspb.Event{Id: id}); err != nil {
				return err
			}
			frame, err := x.Recv()
			if err != nil {
				return err
			}
			b, err := proto.Marshal(frame)
			a := &eventspb.AckRequest{}
			if err == nil {
				err = proto.Unmarshal(b, a)
			}
			if err != nil {
				return err
			}
			answers <- a
		}
		return status.Error(codes.InvalidArgument, "enough")
	}
	if _, err := s.Consume("orders", WithAutoAck(false, 0)); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("no ack wait: %v", err)
	}
	events, err := s.Consume("orders", WithContext(t.Context()), WithGroup("g"), WithAutoAck(false, time.Second), WithRetryLimit(3))
	if err != nil {
		t.Fatal(err)
	}
	one := <-events
	if err := one.Ack(); err != nil {
		t.Fatal(err)
	}
	if a := <-answers; a.GetId() != "1" || !a.GetSuccess() {
		t.Errorf("answer %v", a)
	}
	two := <-events
	if err := two.Nack(); err != nil {
		t.Fatal(err)
	}
	if a := <-answers; a.GetId() != "2" || a.GetSuccess() {
		t.Errorf("answer %v", a)
	}
}
