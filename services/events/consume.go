package events

import (
	"context"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/internal/identity"
	eventspb "github.com/micro/platform/proto/events"
)

// openTimeout bounds what Redis is asked before a consumer is let in.
const openTimeout = 10 * time.Second

// Consume implements Stream.
func (s *Service) Consume(stream grpc.BidiStreamingServer[eventspb.ConsumeRequest, eventspb.Event]) error {
	req, err := stream.Recv()
	if err == io.EOF {
		return invalid("Missing topic")
	}
	if err != nil {
		return err
	}
	ctx := stream.Context()
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
	answers := make(chan error, 1)
	go func() { answers <- s.answers(stream, g, c) }() // it ends with the stream
	return s.send(stream, g, c, answers)
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
	after, err := s.begin(ctx, t, req)
	if err != nil {
		return nil, err
	}
	if req.GetGroup() == "" {
		return &private{db: s.db, topic: t, last: after}, nil
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
		if err := s.makeTopic(ctx, t, func() error { return s.db.createGroup(ctx, t, req.GetGroup(), after) }); err != nil {
			return nil, err
		}
	}
	return shared{db: s.db, topic: t, group: req.GetGroup(), process: s.hub.process}, nil
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

// answers reads what a consumer says of its events. A consumer that says
// nothing more can still read, unless it would have to acknowledge.
func (s *Service) answers(stream grpc.BidiStreamingServer[eventspb.ConsumeRequest, eventspb.Event], g *group, c *consumer) error {
	for {
		req, err := stream.Recv()
		if err == io.EOF && c.autoAck {
			<-stream.Context().Done()
			return stream.Context().Err()
		}
		if err != nil {
			return err
		}
		answer, err := toAnswer(req)
		if err != nil {
			return err
		}
		if at, err := g.topic.redisID(answer.GetId()); err == nil { // others are ignored, as they always were
			g.ack(c, at, answer.GetSuccess())
		}
	}
}

// toAnswer reads an AckRequest. It came as a frame of ConsumeRequest, whose
// second field is of another type and so still stands among the unknown ones.
func toAnswer(req *eventspb.ConsumeRequest) (*eventspb.AckRequest, error) {
	if req.GetAck() != nil {
		return req.GetAck(), nil
	}
	b, err := proto.Marshal(req)
	if err != nil {
		return nil, err
	}
	answer := &eventspb.AckRequest{}
	if err := proto.Unmarshal(b, answer); err != nil {
		return nil, invalid("an answer is an AckRequest: %v", err)
	}
	return answer, nil
}

func (s *Service) send(stream grpc.BidiStreamingServer[eventspb.ConsumeRequest, eventspb.Event], g *group, c *consumer, answers <-chan error) error {
	for {
		select {
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-g.failed:
			return g.err
		case <-g.ended: // the platform stops
			return unavailable("the platform is stopping, consume again")
		case err := <-answers:
			if err == io.EOF {
				return nil
			}
			return err
		case x := <-c.out:
			if err := stream.Send(x.event); err != nil {
				return err
			}
			g.sent(c, x)
		}
	}
}
