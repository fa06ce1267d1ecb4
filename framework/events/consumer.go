package events

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/client"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/framework/logger"
	eventspb "github.com/micro/platform/proto/events"
)

// The waits before a consumer connects again.
const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 5 * time.Second
)

// Consume answers a channel of a topic's events. When the platform is away the
// consumer connects again and goes on where it was; the channel is closed only
// when its context ends, or after an error that trying again does not mend,
// which is logged.
func (s *Stream) Consume(topic string, opts ...ConsumeOption) (<-chan Event, error) {
	o := consumeOptions{ctx: context.Background(), autoAck: true, retryLimit: -1}
	for _, set := range opts {
		set(&o)
	}
	if !o.autoAck && o.ackWait <= 0 {
		return nil, errors.New(codes.InvalidArgument, "invalid AckWait passed, should be positive integer").From("go.micro.client")
	}
	c := &consumer{client: s.client, out: make(chan Event), request: &eventspb.ConsumeRequest{
		Topic: topic, Group: o.group, AutoAck: o.autoAck, AckWait: int64(o.ackWait), RetryLimit: int64(o.retryLimit), Window: int32(o.window)}}
	if !o.offset.IsZero() {
		c.request.Offset = o.offset.Unix()
	}
	go c.run(o.ctx)
	return c.out, nil
}

// consumer is one Consume over all its connections.
type consumer struct {
	client  client.Client
	request *eventspb.ConsumeRequest
	out     chan Event
}

func (c *consumer) run(ctx context.Context) {
	defer close(c.out)
	backoff := time.Duration(0)
	for ctx.Err() == nil {
		began := time.Now()
		got, err := c.connect(ctx)
		if ctx.Err() != nil {
			return
		}
		if final(err) {
			logger.Error("events of topic ", c.request.GetTopic(), " are not consumed any more: ", err)
			return
		}
		if errors.Code(err) == codes.OutOfRange { // it was away for longer than events are kept
			c.request.After, c.request.Offset = "", 1
		}
		if c.request.GetGroup() == "" && c.request.GetAfter() == "" && c.request.GetOffset() <= 0 {
			c.request.Offset = began.Unix() // what was published since
		}
		if backoff = min(2*backoff+minBackoff, maxBackoff); got {
			backoff = minBackoff
		}
		select {
		case <-ctx.Done():
		case <-time.After(backoff/2 + rand.N(backoff)):
		}
	}
}

// final says whether the same request will never do.
func final(err error) bool {
	switch errors.Code(err) {
	case codes.InvalidArgument, codes.PermissionDenied, codes.Unimplemented:
		return true
	default:
		return false
	}
}

// leaveTimeout is how long a consumer that ends waits for the platform to take
// its last answers.
const leaveTimeout = 2 * time.Second

// connect consumes over one connection, and answers whether an event came.
func (c *consumer) connect(ctx context.Context) (got bool, err error) {
	connected, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	opened := context.AfterFunc(ctx, cancel)
	stream, err := c.client.Stream(connected, c.client.NewRequest(service, "Stream.ConsumeBatch", &eventspb.ConsumeBatchRequest{Open: c.request}), client.WithAuthToken())
	if err != nil {
		return false, err
	}
	defer stream.Close() //nolint:errcheck // it is given up
	a := newAnswers(func(ids []string) error { return stream.SendMsg(&eventspb.ConsumeBatchRequest{Done: ids}) }, stream.CloseSend)
	defer a.stop() //nolint:errcheck // then the events are sent again
	if !opened() {
		return false, ctx.Err()
	}
	ending := context.AfterFunc(ctx, func() {
		if a.stop() != nil || c.request.GetAutoAck() {
			cancel()
			return
		}
		time.AfterFunc(leaveTimeout, cancel)
	})
	defer ending()
	for {
		batch := &eventspb.EventBatch{}
		if err := stream.RecvMsg(batch); err != nil {
			return got, err
		}
		got = true
		a.expect(len(batch.GetEvents()))
		for _, e := range batch.GetEvents() {
			c.hand(ctx, e, a)
		}
	}
}

// hand gives an event to the program, unless ctx ends.
func (c *consumer) hand(ctx context.Context, e *eventspb.Event, a *answers) {
	v := fromProto(e)
	if !c.request.GetAutoAck() {
		v.answer = func(success bool) error { return a.answer(v.ID, success) }
	}
	select {
	case c.out <- v:
	case <-ctx.Done():
		return
	}
	if c.request.GetGroup() == "" {
		c.request.After, c.request.Offset = e.GetId(), 0
	}
}
