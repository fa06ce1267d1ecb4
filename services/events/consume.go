package events

import (
	"context"
	"io"
	"time"

	"google.golang.org/grpc"

	"github.com/micro/platform/internal/identity"
	eventspb "github.com/micro/platform/proto/events"
)

// openTimeout bounds what Redis is asked before a consumer is let in.
const openTimeout = 10 * time.Second

// line is a consumer's connection.
type line interface {
	Context() context.Context
	// answers waits for the ids of events that are done; io.EOF is the end.
	answers() ([]string, error)
	// send sends one or more events.
	send(events []*eventspb.Event) error
}

// Consume implements Stream.
func (s *Service) Consume(stream grpc.BidiStreamingServer[eventspb.ConsumeRequest, eventspb.Event]) error {
	req, err := stream.Recv()
	if err == io.EOF {
		return invalid("Missing topic")
	}
	if err != nil {
		return err
	}
	return s.consume(single{stream}, req)
}

// ConsumeBatch implements Stream.
func (s *Service) ConsumeBatch(stream grpc.BidiStreamingServer[eventspb.ConsumeBatchRequest, eventspb.EventBatch]) error {
	req, err := stream.Recv()
	if err == io.EOF {
		return invalid("Missing topic")
	}
	if err != nil {
		return err
	}
	return s.consume(batched{stream}, req.GetOpen())
}

// consume lets a consumer take part until its connection ends.
func (s *Service) consume(l line, req *eventspb.ConsumeRequest) error {
	ctx := l.Context()
	ns, err := identity.Admin(ctx, req.GetNamespace())
	if err != nil {
		return err
	}
	t, err := newTopic(ns, req.GetTopic())
	if err != nil {
		return err
	}
	if err := checkConsume(req, s.now()); err != nil {
		return err
	}
	src, err := s.open(ctx, t, req)
	if err != nil {
		return away("consume", err)
	}
	c := newConsumer(req)
	g, err := s.hub.join(ctx, t, req.GetGroup(), src, c)
	if err != nil {
		return err
	}
	defer s.hub.leave(g, c)
	ended := make(chan error, 1)
	go func() { ended <- takeAnswers(l, g, c) }() // it ends with the stream
	return sendEvents(l, g, c, ended)
}

func newConsumer(req *eventspb.ConsumeRequest) *consumer {
	c := &consumer{autoAck: req.GetAutoAck(), ackWait: time.Duration(req.GetAckWait()), retryLimit: req.GetRetryLimit(), window: int(req.GetWindow())}
	if c.window == 0 {
		c.window = defaultWindow
	}
	c.out = make(chan sending, c.window)
	return c
}

// open answers where the consumer's group has its events from. A group with a
// name is made if it is new; so is its topic.
func (s *Service) open(ctx context.Context, t topic, req *eventspb.ConsumeRequest) (source, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if req.GetGroup() == "" {
		after, err := s.begin(ctx, t, req)
		return &private{db: s.db, room: s.room, topic: t, last: after}, err
	}
	groups, err := s.db.groups(ctx, t)
	if err != nil {
		return nil, err
	}
	found := false
	for _, g := range groups {
		found = found || g.Name == req.GetGroup()
	}
	if !found {
		if len(groups) >= s.opts.MaxGroups {
			return nil, exhausted("topic %q has %d groups, which is the limit", t.name(), s.opts.MaxGroups)
		}
		after, err := s.begin(ctx, t, req)
		if err != nil {
			return nil, err
		}
		if err := s.makeTopic(ctx, t, func() error { return s.db.createGroup(ctx, t, req.GetGroup(), after) }); err != nil {
			return nil, err
		}
	}
	return shared{db: s.db, room: s.room, topic: t, group: req.GetGroup(), process: s.hub.process}, nil
}

// begin answers the position after which a new group begins.
func (s *Service) begin(ctx context.Context, t topic, req *eventspb.ConsumeRequest) (position, error) {
	if req.GetOffset() > 0 {
		return since(req.GetOffset()), nil
	}
	newest, trimmed, err := s.db.span(ctx, t)
	if err != nil || req.GetAfter() == "" {
		return newest, err
	}
	return t.place(req.GetAfter(), newest, trimmed)
}
