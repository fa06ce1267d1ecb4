// Package events publishes and consumes durable, ordered events:
//
//	err := events.Publish("orders", order, events.WithMetadata(map[string]string{"kind": "new"}))
//
//	orders, err := events.Consume("orders", events.WithGroup("billing"), events.WithAutoAck(false, 30*time.Second))
//	for e := range orders {
//		var o Order
//		if err := e.Unmarshal(&o); err == nil {
//			err = bill(o)
//		}
//		if err != nil {
//			e.Nack() // it comes again
//			continue
//		}
//		e.Ack()
//	}
//
// The functions work for the service that service.New has made. Stream works
// with any client.
package events

import (
	"context"
	"encoding/json"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/client"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/framework/internal/current"
	eventspb "github.com/micro/platform/proto/events"
)

// service is what the platform's events are called.
const service = "events"

// Event is one of a topic.
type Event struct {
	// ID is the event's, unique in its topic.
	ID    string
	Topic string
	// Metadata is what WithMetadata said.
	Metadata map[string]string
	// Payload is the message: JSON, or the bytes that were published.
	Payload []byte
	// Timestamp is when it was published, to the second.
	Timestamp time.Time
	// Attempt says how often the group was sent this event, this time included;
	// 0 if it was read and not consumed.
	Attempt int64

	answer func(success bool) error
}

// Unmarshal decodes the payload's JSON.
func (e *Event) Unmarshal(v any) error { return json.Unmarshal(e.Payload, v) }

// Ack says that the event is done. It means something for consumers that do not
// acknowledge by themselves. Answers go out together, a millisecond later at the
// latest; the event of one that gets lost is sent again.
func (e *Event) Ack() error { return e.tell(true) }

// Nack says that the event is not done: it is sent again when the time to
// acknowledge is over.
func (e *Event) Nack() error { return e.tell(false) }

func (e *Event) tell(success bool) error {
	if e.answer == nil {
		return nil
	}
	return e.answer(success)
}

func fromProto(e *eventspb.Event) Event {
	return Event{ID: e.GetId(), Topic: e.GetTopic(), Metadata: e.GetMetadata(), Payload: e.GetPayload(),
		Timestamp: time.Unix(e.GetTimestamp(), 0), Attempt: e.GetAttempt()}
}

// Stream is the events of the namespace that a client works for.
type Stream struct {
	client    client.Client
	publisher *publisher
}

// New makes a Stream.
func New(c client.Client) *Stream { return &Stream{c, newPublisher(c)} }

// program is the Stream of the program's service.
var program current.One[Stream]

func ofService() (*Stream, error) { return program.Get(New, nil) }

// Publish publishes for the program's service.
func Publish(topic string, msg any, opts ...PublishOption) error {
	s, err := ofService()
	if err != nil {
		return err
	}
	return s.Publish(topic, msg, opts...)
}

// Consume consumes for the program's service.
func Consume(topic string, opts ...ConsumeOption) (<-chan Event, error) {
	s, err := ofService()
	if err != nil {
		return nil, err
	}
	return s.Consume(topic, opts...)
}

// Read reads for the program's service.
func Read(topic string, opts ...ReadOption) ([]*Event, error) {
	s, err := ofService()
	if err != nil {
		return nil, err
	}
	return s.Read(topic, opts...)
}

// Publish publishes a message: bytes as they are, anything else as JSON. When it
// answers nil the event is on the platform's disk. After an error it may be
// there or not. Events of a topic that are published at the same time share a
// call; those of one goroutine keep their order.
func (s *Stream) Publish(topic string, msg any, opts ...PublishOption) error {
	o := publishOptions{ctx: context.Background(), timestamp: time.Now()}
	for _, set := range opts {
		set(&o)
	}
	payload, ok := msg.([]byte)
	if !ok {
		var err error
		if payload, err = json.Marshal(msg); err != nil {
			return errors.New(codes.InvalidArgument, "the message of topic %q: %v", topic, err).From("go.micro.client")
		}
	}
	return s.publisher.publish(o.ctx, topic, &eventspb.Event{Metadata: o.metadata, Payload: payload, Timestamp: o.timestamp.Unix()})
}

// Read answers events of the past, the oldest first.
func (s *Stream) Read(topic string, opts ...ReadOption) ([]*Event, error) {
	o := readOptions{ctx: context.Background()}
	for _, set := range opts {
		set(&o)
	}
	ask := &eventspb.ReadRequest{Topic: topic, Limit: uint64(o.limit), Offset: uint64(o.offset), After: o.after}
	rsp := &eventspb.ReadResponse{}
	if err := s.client.Call(o.ctx, s.client.NewRequest(service, "Store.Read", ask), rsp, client.WithAuthToken()); err != nil {
		return nil, err
	}
	events := make([]*Event, 0, len(rsp.GetEvents()))
	for _, e := range rsp.GetEvents() {
		v := fromProto(e)
		events = append(events, &v)
	}
	return events, nil
}
