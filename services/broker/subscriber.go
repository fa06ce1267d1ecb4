package broker

import (
	"context"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/framework/errors"
	brokerpb "github.com/micro/platform/proto/broker"
)

// subscriber is one Subscribe: what it has not yet sent, in order.
type subscriber struct {
	namespace, topic, queue string
	maxMessages, maxBytes   int

	// full is closed when there was no room for a message.
	full chan struct{}
	wake chan struct{}

	mu      sync.Mutex
	pending []*brokerpb.Message
	bytes   int
	ended   bool
}

func newSubscriber(namespace, topic, queue string, o Options) *subscriber {
	return &subscriber{namespace: namespace, topic: topic, queue: queue, maxMessages: o.Buffer, maxBytes: o.BufferBytes,
		full: make(chan struct{}), wake: make(chan struct{}, 1)}
}

// offer never waits. It is false when there is no room, and the subscriber is
// then at its end, unless it may be spared: another of its queue can have the
// message.
func (s *subscriber) offer(m *brokerpb.Message, spare bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	size := proto.Size(m)
	if len(s.pending) >= s.maxMessages || s.bytes+size > s.maxBytes && len(s.pending) > 0 {
		if !spare {
			s.ended = true
			close(s.full)
		}
		return false
	}
	s.pending = append(s.pending, m)
	s.bytes += size
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return true
}

// take answers all that waits, of one that has gone.
func (s *subscriber) take() []*brokerpb.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.pending
	s.pending, s.bytes, s.ended = nil, 0, true
	return out
}

// next answers the oldest that waits. What is not sent yet still waits, for
// another one of the queue if this one goes.
func (s *subscriber) next() (*brokerpb.Message, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) == 0 {
		return nil, false
	}
	m := s.pending[0]
	s.pending[0] = nil // for the garbage collector
	s.pending = s.pending[1:]
	s.bytes -= proto.Size(m)
	return m, true
}

// pump sends what comes until ctx ends or sending fails.
func (s *subscriber) pump(ctx context.Context, send func(*brokerpb.Message) error) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.wake:
		}
		for {
			m, ok := s.next()
			if !ok {
				break
			}
			if err := send(m); err != nil {
				return err
			}
		}
	}
}

func (s *subscriber) tooSlow() error {
	return errors.New(codes.ResourceExhausted, "subscriber of %q is too slow: over %d messages or %d bytes wait for it, subscribe again", errors.Clip(s.topic), s.maxMessages, s.maxBytes)
}
