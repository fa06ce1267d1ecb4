package edge

import (
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/ingress"
	"github.com/micro/platform/internal/quota"
	"github.com/micro/platform/internal/rpc"
)

// Shares says how much of something namespaces hold, so that one that is slow
// cannot take what the others need.
type Shares struct {
	each int64 // that a namespace may hold; 0 is no limit
	all  int64 // that all may hold together; 0 is no limit

	mu    sync.Mutex
	held  map[place]int64
	total int64
}

// place is what is counted: all that a namespace holds, and of it what callers
// without an account do, who may take half, so that nobody can shut the members
// of a namespace out through what it has made public.
type place struct {
	namespace string
	anonymous bool
}

// limit is what is met when there is no more.
type limit int

const (
	free limit = iota
	ofNamespace
	ofAnonymous
	ofAll
)

// NewShares makes Shares of which a namespace may hold so many each, and all of
// them so many together; 0 is no limit, for each of both.
func NewShares(each, all int64) *Shares {
	return &Shares{each: each, all: all, held: map[place]int64{}}
}

// take takes n for a namespace, unless a limit is met; give gives it back.
func (s *Shares) take(namespace string, anonymous bool, n int64) (give func(), met limit) {
	if s.each <= 0 {
		return func() {}, free
	}
	all, without := place{namespace: namespace}, place{namespace, true}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.held[all]+n > s.each:
		return func() {}, ofNamespace
	case anonymous && s.held[without]+n > max(s.each/2, 1):
		return func() {}, ofAnonymous
	case s.all > 0 && s.total+n > s.all:
		return func() {}, ofAll
	}
	s.add(all, n)
	if anonymous {
		s.add(without, n)
	}
	s.total += n
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.add(all, -n)
		if anonymous {
			s.add(without, -n)
		}
		s.total -= n
	}), free
}

// add wants mu held.
func (s *Shares) add(p place, n int64) {
	if s.held[p] += n; s.held[p] == 0 {
		delete(s.held, p)
	}
}

// taken is how much all hold.
func (s *Shares) taken() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

// crowded says to those who met a limit of open calls when to come again.
var crowded = &quota.Reached{Wait: time.Second}

// errTooLarge is about a message of the callee. To clients gRPC says so itself.
func errTooLarge() *errors.Error {
	return errors.New(codes.ResourceExhausted, "message larger than %d bytes, which is the limit", rpc.MaxMessage).From("go.micro.proxy")
}

// Room is the memory for messages over gRPC that have not come as a whole: as much
// again as for those that have. All listeners of an edge share it.
func (o Options) Room(log *slog.Logger) *ingress.Room {
	return ingress.NewRoom(namespaces*o.Buffered, log)
}

// Enter takes a place among the open calls of a namespace; leave gives it back.
// The error is codes.ResourceExhausted.
func (s *Shares) Enter(namespace string, anonymous bool) (leave func(), err error) {
	leave, met := s.take(namespace, anonymous, 1)
	switch met {
	case ofNamespace:
		err = errors.New(codes.ResourceExhausted, "namespace %q has %d calls open, which is the limit: try again when some have ended", namespace, s.each).Because(crowded)
	case ofAnonymous:
		err = errors.New(codes.ResourceExhausted, "too many calls without an account are open in namespace %q: try again when some have ended, or log in", namespace).Because(crowded)
	}
	return leave, err
}

const (
	// small is what a body or an answer may have that is not counted, in bytes:
	// what is, a call in flight bounds.
	small = 16 << 10
	// namespaces is how many times what a namespace may have in memory all may.
	namespaces = 4
)

// message is the memory of the last message of a call.
type message struct {
	mu    sync.Mutex
	give  func()
	ended bool
}

// hold takes memory for a message of the call in the place of the one before,
// which is on its way by then: who takes none lets no other be sent. It is given
// back when the call is closed.
func (c *Call) hold(n int) error {
	give, err := c.Buffer(n)
	if err != nil {
		return err
	}
	c.message.mu.Lock()
	before := c.message.give
	if c.message.give = give; c.message.ended {
		before = give
	}
	c.message.mu.Unlock()
	if before != nil {
		before()
	}
	return nil
}

// drop gives back what hold has taken.
func (c *Call) drop() {
	c.message.mu.Lock()
	defer c.message.mu.Unlock()
	if c.message.ended = true; c.message.give != nil {
		c.message.give()
	}
}

// Buffer takes n bytes of memory for a body or an answer of the call; give gives
// them back. The error is codes.ResourceExhausted.
func (c *Call) Buffer(n int) (give func(), err error) {
	return c.edge.Buffer(c.Namespace, c.Caller == nil, n)
}

// Buffer takes n bytes of memory in a namespace; give gives them back. Up to 16 KiB
// are free. The error is codes.ResourceExhausted.
func (e *Edge) Buffer(namespace string, anonymous bool, n int) (give func(), err error) {
	if n <= small {
		return func() {}, nil
	}
	give, met := e.buffered.take(namespace, anonymous, int64(n))
	switch met {
	case ofNamespace:
		err = errors.New(codes.ResourceExhausted, "namespace %q has %d bytes of bodies and answers under way, which is the limit: try again when some of them have gone", namespace, e.buffered.each).From("go.micro.proxy").Because(crowded)
	case ofAnonymous:
		err = errors.New(codes.ResourceExhausted, "too many bytes are under way in namespace %q without an account: try again when some of them have gone, or log in", namespace).From("go.micro.proxy").Because(crowded)
	case ofAll:
		err = errors.New(codes.ResourceExhausted, "too many bytes of bodies and answers are under way: try again when some of them have gone").From("go.micro.proxy").Because(crowded)
	}
	return give, err
}
