package handler

import (
	"context"
	"sync"
	"time"

	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/events"
	"github.com/micro/micro/v3/service/logger"
	"github.com/micro/micro/v3/service/server"
)

// Event is an event or a message.
type Event struct {
	Topic string `json:"topic"`
	Text  string `json:"text"`
}

// List are the events or messages so far.
type List struct {
	Events []*Event `json:"events"`
}

// log collects events.
type log struct {
	mu   sync.Mutex
	list []*Event
}

func (l *log) add(e *Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, e)
}

func (l *log) all() []*Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*Event(nil), l.list...)
}

// Events uses the event streams.
type Events struct {
	seen log
	// refused has the events that were refused once, so that they come again.
	refused sync.Map
}

// NewEvents makes the handler.
func NewEvents() *Events { return new(Events) }

// Consume takes the events of "orders", as one of a group, and each for the
// second time it comes. As the channel closes when a stream breaks, it loops.
func (h *Events) Consume() {
	for {
		stream, err := events.Consume("orders", events.WithGroup("keeper"), events.WithAutoAck(false, time.Second), events.WithRetryLimit(3))
		if err != nil {
			logger.Errorf("consume: %v", err)
			time.Sleep(time.Second)
			continue
		}
		for e := range stream {
			logger.Infof("order %s came", e.ID)
			if _, again := h.refused.LoadOrStore(e.ID, true); !again {
				e.Nack()
				continue
			}
			out := &Event{Topic: e.Topic}
			if err := e.Unmarshal(out); err != nil {
				logger.Errorf("unmarshal: %v", err)
			}
			h.seen.add(out)
			e.Ack()
		}
	}
}

// Publish publishes an event.
func (h *Events) Publish(ctx context.Context, req *Event, rsp *Empty) error {
	return events.Publish(req.Topic, req, events.WithMetadata(map[string]string{"from": "keeper"}))
}

// Seen answers what was consumed.
func (h *Events) Seen(ctx context.Context, req *Empty, rsp *List) error {
	rsp.Events = h.seen.all()
	return nil
}

// Read answers the history of a topic.
func (h *Events) Read(ctx context.Context, req *Event, rsp *List) error {
	found, err := events.Read(req.Topic, events.ReadLimit(10))
	if err != nil {
		return err
	}
	for _, e := range found {
		out := new(Event)
		if err := e.Unmarshal(out); err != nil {
			return err
		}
		rsp.Events = append(rsp.Events, out)
	}
	return nil
}

// Follow streams what is published to a topic from now on.
func (h *Events) Follow(ctx context.Context, stream server.Stream) error {
	var req Event
	if err := stream.Recv(&req); err != nil {
		return err
	}
	published, err := events.Consume(req.Topic, events.WithContext(ctx))
	if err != nil {
		return err
	}
	for e := range published {
		out := new(Event)
		if err := e.Unmarshal(out); err != nil {
			return err
		}
		if err := stream.Send(out); err != nil {
			return err
		}
	}
	return nil
}

// Messages uses the broker.
type Messages struct {
	seen log
}

// NewMessages makes the handler.
func NewMessages() *Messages { return new(Messages) }

// Take is the subscriber of "news".
func (m *Messages) Take(ctx context.Context, msg *Event) error {
	m.seen.add(msg)
	return nil
}

// Publish sends a message.
func (m *Messages) Publish(ctx context.Context, req *Event, rsp *Empty) error {
	return client.Publish(ctx, client.DefaultClient.NewMessage(req.Topic, req, client.WithMessageContentType("application/json")))
}

// Seen answers what came.
func (m *Messages) Seen(ctx context.Context, req *Empty, rsp *List) error {
	rsp.Events = m.seen.all()
	return nil
}
