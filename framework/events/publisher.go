package events

import (
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/client"
	"github.com/micro/platform/framework/errors"
	eventspb "github.com/micro/platform/proto/events"
)

const (
	// maxCalls is how many calls are under way for one topic at once: while one
	// is, the events for the next gather.
	maxCalls = 2
	// maxShared and maxSharedBytes bound the events of one call. One event may
	// have more bytes.
	maxShared      = 250
	maxSharedBytes = 1 << 20
	// publishTimeout bounds a call. Whoever waits for it may have less time.
	publishTimeout = time.Minute
)

// publisher lets events of one topic that a program publishes at the same time
// share a call. One that is alone goes at once.
type publisher struct {
	client client.Client

	mu     sync.Mutex
	topics map[string]*queue // those with a call under way
}

type queue struct {
	waiting []*waiter
	calls   int
}

// waiter is somebody who publishes an event.
type waiter struct {
	ctx    context.Context //nolint:containedctx // it lives as long as the call
	event  *eventspb.Event
	result chan error
}

func newPublisher(c client.Client) *publisher {
	return &publisher{client: c, topics: map[string]*queue{}}
}

// publish answers when the event is kept, or ctx ends.
func (p *publisher) publish(ctx context.Context, topic string, e *eventspb.Event) error {
	w := &waiter{ctx, e, make(chan error, 1)}
	p.mu.Lock()
	q := p.topics[topic]
	if q == nil {
		q = &queue{}
		p.topics[topic] = q
	}
	q.waiting = append(q.waiting, w)
	if q.calls < maxCalls {
		q.calls++
		go p.run(topic, q) // until nobody waits
	}
	p.mu.Unlock()
	select {
	case err := <-w.result:
		return err
	case <-ctx.Done():
		return errors.New(codes.DeadlineExceeded, "the event may have been published or not: %v", ctx.Err()).From("go.micro.client")
	}
}

func (p *publisher) run(topic string, q *queue) {
	for {
		shared := p.take(topic, q)
		if len(shared) == 0 {
			return
		}
		p.send(topic, shared)
	}
}

// take answers those whose events go next. Without any, the caller is done.
func (p *publisher) take(topic string, q *queue) []*waiter {
	p.mu.Lock()
	defer p.mu.Unlock()
	q.waiting = slices.DeleteFunc(q.waiting, func(w *waiter) bool { return w.ctx.Err() != nil })
	n, bytes := 0, 0
	for n < min(len(q.waiting), maxShared) {
		if bytes += len(q.waiting[n].event.GetPayload()); bytes > maxSharedBytes && n > 0 {
			break
		}
		n++
	}
	shared := q.waiting[:n:n]
	if q.waiting = q.waiting[n:]; n == 0 {
		if q.calls--; q.calls == 0 {
			delete(p.topics, topic)
		}
	}
	return shared
}

// send publishes events and tells those who wait. The platform looks at all
// events before it keeps any, so where it refuses some, each is tried alone.
func (p *publisher) send(topic string, shared []*waiter) {
	if len(shared) == 1 {
		shared[0].result <- p.one(topic, shared[0].event)
		return
	}
	req := &eventspb.PublishBatchRequest{Topic: topic}
	for _, w := range shared {
		req.Events = append(req.Events, w.event)
	}
	err := p.call("Stream.PublishBatch", req, &eventspb.PublishBatchResponse{})
	for _, w := range shared {
		if errors.Code(err) == codes.InvalidArgument {
			w.result <- p.one(topic, w.event)
			continue
		}
		w.result <- err
	}
}

func (p *publisher) one(topic string, e *eventspb.Event) error {
	return p.call("Stream.Publish", &eventspb.PublishRequest{
		Topic: topic, Metadata: e.GetMetadata(), Payload: e.GetPayload(), Timestamp: e.GetTimestamp()}, &eventspb.PublishResponse{})
}

func (p *publisher) call(endpoint string, req, rsp any) error {
	return p.client.Call(context.Background(), p.client.NewRequest(service, endpoint, req), rsp,
		client.WithAuthToken(), client.WithRequestTimeout(publishTimeout))
}
