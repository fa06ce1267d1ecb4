package broker

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/framework/errors"
	brokerpb "github.com/micro/platform/proto/broker"
)

// overhead is what a message that waits takes beside its bytes, about.
const overhead = 128

// waiting is a message for a subscriber, and since when.
type waiting struct {
	message *brokerpb.Message
	size    int
	since   time.Time
}

// subscriber is one Subscribe: what it has not yet sent, in order.
type subscriber struct {
	namespace, topic, queue string
	maxMessages, maxBytes   int

	// full is closed when it is at its end, since there was no room for a message
	// or none was taken for too long.
	full chan struct{}
	wake chan struct{}

	mu      sync.Mutex
	pending []waiting
	sending waiting // what is on its way: it takes room as well
	bytes   int     // of both
	space   *space  // of its namespace
	charged int     // to space
	ended   bool
	why     error
}

func newSubscriber(namespace, topic, queue string, o Options) *subscriber {
	return &subscriber{namespace: namespace, topic: topic, queue: queue, maxMessages: o.Buffer, maxBytes: o.BufferBytes,
		full: make(chan struct{}), wake: make(chan struct{}, 1), space: newSpace()}
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
			s.end("over %d messages or %d bytes wait for it", s.maxMessages, s.maxBytes)
		}
		return false
	}
	s.pending = append(s.pending, waiting{m, size, time.Now()})
	s.bytes += size
	s.charge(size + overhead)
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return true
}

// charge takes room of the namespace, or gives it back, with mu held. One that
// is at its end has none.
func (s *subscriber) charge(n int) {
	if !s.ended {
		s.charged += n
		s.space.taken.Add(int64(n))
	}
}

// end is called with mu held. What waits for a member of a queue is for another
// one.
func (s *subscriber) end(why string, args ...any) {
	if s.ended {
		return
	}
	s.charge(-s.charged)
	s.ended = true
	s.why = errors.New(codes.ResourceExhausted, "subscriber of %q is too slow: "+why+", subscribe again", append([]any{errors.Clip(s.topic)}, args...)...)
	if s.queue == "" {
		s.pending = nil
	}
	close(s.full)
}

// taken is how much it takes of its namespace's room.
func (s *subscriber) taken() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.charged
}

// crowdedOut ends a subscriber for want of room in its namespace.
func (s *subscriber) crowdedOut(most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end("over %d bytes wait for the subscribers of namespace %q, and most of them for this one", most, s.namespace)
}

// endLate ends a subscriber that has not taken a message for too long.
func (s *subscriber) endLate(now time.Time, most time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	oldest := s.sending
	if oldest.message == nil && len(s.pending) > 0 {
		oldest = s.pending[0]
	}
	if oldest.message != nil && now.Sub(oldest.since) > most {
		s.end("a message has waited for over %v", most)
	}
}

// take answers all that waits, of one that has gone.
func (s *subscriber) take() []*brokerpb.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*brokerpb.Message
	for _, w := range s.pending {
		out = append(out, w.message)
	}
	s.charge(-s.charged)
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
	s.sending, s.pending[0] = s.pending[0], waiting{} // for the garbage collector
	s.pending = s.pending[1:]
	return s.sending.message, true
}

// sent gives back the room of the message that was sent.
func (s *subscriber) sent() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes -= s.sending.size
	s.charge(-s.sending.size - overhead)
	s.sending = waiting{}
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
			s.sent()
		}
	}
}

func (s *subscriber) tooSlow() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.why
}
