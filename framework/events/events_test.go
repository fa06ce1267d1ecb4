package events

import (
	"context"
	"io"
	"net"
	"slices"
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

type stream = grpc.BidiStreamingServer[eventspb.ConsumeBatchRequest, eventspb.EventBatch]

func one(e *eventspb.Event) *eventspb.EventBatch {
	return &eventspb.EventBatch{Events: []*eventspb.Event{e}}
}

// fakeEvents is events in small: a stream sends what it is told and then ends.
type fakeEvents struct {
	eventspb.UnimplementedStreamServer
	eventspb.UnimplementedStoreServer

	streams chan func(first *eventspb.ConsumeRequest, s stream) error

	held, hold chan struct{} // publishing tells the one and waits for the other, unless they are nil

	mu        sync.Mutex
	published []*eventspb.Event
	calls     int
}

func (f *fakeEvents) Publish(ctx context.Context, req *eventspb.PublishRequest) (*eventspb.PublishResponse, error) {
	_, err := f.PublishBatch(ctx, &eventspb.PublishBatchRequest{Topic: req.GetTopic(), Events: []*eventspb.Event{
		{Metadata: req.GetMetadata(), Payload: req.GetPayload(), Timestamp: req.GetTimestamp()}}})
	return &eventspb.PublishResponse{Id: "1"}, err
}

func (f *fakeEvents) PublishBatch(_ context.Context, req *eventspb.PublishBatchRequest) (*eventspb.PublishBatchResponse, error) {
	if f.hold != nil {
		select {
		case f.held <- struct{}{}:
		default:
		}
		<-f.hold
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	for _, e := range req.GetEvents() {
		if e.GetMetadata()["bad"] != "" {
			return nil, status.Error(codes.InvalidArgument, "bad metadata")
		}
	}
	for _, e := range req.GetEvents() {
		e.Topic = req.GetTopic()
		f.published = append(f.published, e)
	}
	return &eventspb.PublishBatchResponse{}, nil
}

func (f *fakeEvents) Read(_ context.Context, req *eventspb.ReadRequest) (*eventspb.ReadResponse, error) {
	return &eventspb.ReadResponse{Events: []*eventspb.Event{{Id: "7", Topic: req.GetTopic(), Payload: []byte(`{"n":7}`), Timestamp: 1}}}, nil
}

func (f *fakeEvents) ConsumeBatch(s stream) error {
	first, err := s.Recv()
	if err != nil {
		return err
	}
	select {
	case next := <-f.streams:
		return next(first.GetOpen(), s)
	case <-s.Context().Done():
		return s.Context().Err()
	}
}

func setup(t *testing.T) (*fakeEvents, *Stream) {
	t.Helper()
	f := &fakeEvents{streams: make(chan func(*eventspb.ConsumeRequest, stream) error, 10)}
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
	want := &eventspb.Event{Topic: "orders", Payload: []byte(`{"n":1}`), Metadata: map[string]string{"k": "v"}, Timestamp: 5}
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
	f.streams <- func(first *eventspb.ConsumeRequest, _ stream) error {
		if first.GetOffset() > 0 || first.GetAfter() != "" || !first.GetAutoAck() || first.GetRetryLimit() != -1 {
			t.Errorf("first request %v", first)
		}
		return status.Error(codes.Unavailable, "gone")
	}
	f.streams <- func(second *eventspb.ConsumeRequest, x stream) error {
		if second.GetOffset() < began {
			t.Errorf("what was published meanwhile is missed: %v", second)
		}
		return x.Send(one(&eventspb.Event{Id: "1", Payload: []byte("a")}))
	}
	f.streams <- func(third *eventspb.ConsumeRequest, x stream) error {
		if third.GetAfter() != "1" || third.GetOffset() != 0 {
			t.Errorf("third request %v", third)
		}
		return status.Error(codes.OutOfRange, "expired")
	}
	f.streams <- func(fourth *eventspb.ConsumeRequest, x stream) error {
		if fourth.GetAfter() != "" || fourth.GetOffset() != 1 {
			t.Errorf("fourth request %v", fourth)
		}
		return x.Send(one(&eventspb.Event{Id: "2", Payload: []byte("b")}))
	}
	f.streams <- func(*eventspb.ConsumeRequest, stream) error {
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
	answers := make(chan []string, 10)
	f.streams <- func(_ *eventspb.ConsumeRequest, x stream) error {
		batch := &eventspb.EventBatch{}
		for _, id := range []string{"1", "2", "3"} {
			batch.Events = append(batch.Events, &eventspb.Event{Id: id})
		}
		if err := x.Send(batch); err != nil {
			return err
		}
		for {
			req, err := x.Recv()
			if err == io.EOF {
				close(answers)
				return nil
			}
			if err != nil {
				return err
			}
			answers <- req.GetDone()
		}
	}
	if _, err := s.Consume("orders", WithAutoAck(false, 0)); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("no ack wait: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	events, err := s.Consume("orders", WithContext(ctx), WithGroup("g"), WithAutoAck(false, time.Second), WithRetryLimit(3))
	if err != nil {
		t.Fatal(err)
	}
	one, two, three := <-events, <-events, <-events
	if err := one.Ack(); err != nil {
		t.Fatal(err)
	}
	if got := <-answers; !slices.Equal(got, []string{"1"}) { // though the others are not answered
		t.Errorf("answers %v", got)
	}
	if err := two.Nack(); err != nil {
		t.Fatal(err)
	}
	if err := three.Ack(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if got := <-answers; !slices.Equal(got, []string{"3"}) {
		t.Errorf("answers %v", got)
	}
	if _, more := <-answers; more {
		t.Error("there is another answer")
	}
	if _, more := <-events; more {
		t.Error("there is another event")
	}
	if err := two.Ack(); errors.Code(err) != codes.Canceled {
		t.Errorf("an answer after the end: %v", err)
	}
}

// TestPublishTogether shows that those who publish at the same time share calls,
// and that each gets the answer for its own event.
func TestPublishTogether(t *testing.T) {
	t.Parallel()
	f, s := setup(t)
	f.held, f.hold = make(chan struct{}, maxCalls), make(chan struct{})
	const callers = 100
	results := make(chan error, callers)
	publish := func(i int) {
		md := map[string]string{}
		if i == 50 {
			md["bad"] = "yes"
		}
		results <- s.Publish("orders", i, WithMetadata(md))
	}
	for i := range maxCalls { // so many calls are under way
		go publish(i)
		<-f.held
	}
	for i := maxCalls; i < callers; i++ {
		go publish(i)
	}
	waits := func() int {
		s.publisher.mu.Lock()
		defer s.publisher.mu.Unlock()
		if q := s.publisher.topics["orders"]; q != nil {
			return len(q.waiting)
		}
		return 0
	}
	for deadline := time.Now().Add(10 * time.Second); waits() < callers-maxCalls; <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d wait", waits())
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Publish("orders", "late", WithPublishContext(ctx)); errors.Code(err) != codes.DeadlineExceeded {
		t.Errorf("with a context that has ended: %v", err)
	}
	close(f.hold)
	refused := 0
	for range callers {
		if err := <-results; errors.Code(err) == codes.InvalidArgument {
			refused++
		} else if err != nil {
			t.Error(err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if refused != 1 || len(f.published) != callers-1 {
		t.Errorf("%d refused, %d published of %d", refused, len(f.published), callers)
	}
	if want := maxCalls + 1 + callers - maxCalls; f.calls > want { // each of the batch that was refused
		t.Errorf("%d calls, want %d", f.calls, want)
	}
	if waits() != 0 || len(s.publisher.topics) != 0 {
		t.Error("the topic is not forgotten")
	}
}
