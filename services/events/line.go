package events

import (
	"io"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	eventspb "github.com/micro/platform/proto/events"
)

const (
	// maxSent bounds the events of one message, in number and bytes. One event
	// may have more bytes.
	maxSent      = 256
	maxSentBytes = 1 << 20
)

// takeAnswers reads what a consumer says of its events. A consumer that says
// nothing more can still read, unless it would have to acknowledge.
func takeAnswers(l line, g *group, c *consumer) error {
	for {
		ids, err := l.answers()
		if err == io.EOF && c.autoAck {
			<-l.Context().Done()
			return l.Context().Err()
		}
		if err != nil {
			return err
		}
		at := make([]position, 0, len(ids))
		for _, id := range ids {
			if p, err := g.topic.redisID(id); err == nil { // others are ignored, as they always were
				at = append(at, p)
			}
		}
		g.ack(c, at)
	}
}

// sendEvents sends what the group has for a consumer, until one of them ends.
func sendEvents(l line, g *group, c *consumer, ended <-chan error) error {
	for {
		select {
		case <-l.Context().Done():
			return l.Context().Err()
		case <-g.failed:
			return g.err
		case <-g.ended: // the platform stops
			return unavailable("the platform is stopping, consume again")
		case err := <-ended:
			if err == io.EOF {
				return nil
			}
			return err
		case first := <-c.out:
			sent := c.fill(first)
			events := make([]*eventspb.Event, len(sent))
			for i, x := range sent {
				events[i] = x.event
			}
			if err := l.send(events); err != nil {
				return err
			}
			g.sent(c, sent)
		}
	}
}

// fill adds to an event what waits behind it.
func (c *consumer) fill(first sending) []sending {
	all, bytes := []sending{first}, first.bytes
	for len(all) < maxSent && bytes < maxSentBytes {
		select {
		case next := <-c.out:
			all, bytes = append(all, next), bytes+next.bytes
		default:
			return all
		}
	}
	return all
}

// single is the line of Consume: an event in a message, an answer in another.
type single struct {
	grpc.BidiStreamingServer[eventspb.ConsumeRequest, eventspb.Event]
}

func (l single) send(events []*eventspb.Event) error {
	for _, e := range events {
		if err := l.Send(e); err != nil {
			return err
		}
	}
	return nil
}

// answers ignores what is not a success: the event is sent again when its time
// is up.
func (l single) answers() ([]string, error) {
	req, err := l.Recv()
	if err != nil {
		return nil, err
	}
	answer, err := toAnswer(req)
	if err != nil || !answer.GetSuccess() {
		return nil, err
	}
	return []string{answer.GetId()}, nil
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

// batched is the line of ConsumeBatch.
type batched struct {
	grpc.BidiStreamingServer[eventspb.ConsumeBatchRequest, eventspb.EventBatch]
}

func (l batched) send(events []*eventspb.Event) error {
	return l.Send(&eventspb.EventBatch{Events: events})
}

func (l batched) answers() ([]string, error) {
	req, err := l.Recv()
	return req.GetDone(), err
}
