// Package broker publishes messages to whoever listens at that moment, and
// listens:
//
//	err := broker.Publish("orders.new", &broker.Message{Body: b})
//
//	sub, err := broker.Subscribe("orders.*", func(m *broker.Message) error {
//		return handle(m.Body)
//	}, broker.Queue("billing"))
//
// In a subscription, "*" is one level of the topic and ">" at the end one or
// more. Of the subscribers with the same topic and queue one gets each message.
// What must not be lost goes through package events.
//
// The functions work for the service that service.New has made, as that service
// and not as its caller. New works with any client.
package broker

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/client"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/framework/internal/codec"
	"github.com/micro/platform/framework/internal/current"
	"github.com/micro/platform/framework/logger"
	brokerpb "github.com/micro/platform/proto/broker"
)

// service is what the platform's broker is called.
const service = "broker"

const (
	publishTimeout = 10 * time.Second
	// retryMin and retryMax bound the wait before a lost subscription is made
	// again.
	retryMin = 250 * time.Millisecond
	retryMax = 5 * time.Second
)

// Message is what is published.
type Message struct {
	Header map[string]string
	Body   []byte
}

// NewMessage makes a message of a value: protobuf of its messages, JSON of
// anything else.
func NewMessage(v any) (*Message, error) {
	b, contentType, err := codec.Encode(v)
	if err != nil {
		return nil, errors.New(codes.InvalidArgument, "the message: %v", err).From("go.micro.client")
	}
	return &Message{Header: map[string]string{"Content-Type": contentType}, Body: b}, nil
}

// Topic is what the message was published to.
func (m *Message) Topic() string { return m.Header["Micro-Topic"] }

// Handler gets the messages of a subscription, one after the other. Its error
// is logged, or goes to OnError; the message does not come again.
type Handler func(*Message) error

// Subscriber is a subscription that goes on until it is ended.
type Subscriber struct {
	topic  string
	cancel context.CancelFunc
	done   chan struct{}
}

// Topic is what it listens to.
func (s *Subscriber) Topic() string { return s.topic }

// Unsubscribe ends it. A message that is being handled is handled to its end.
func (s *Subscriber) Unsubscribe() error {
	s.cancel()
	return nil
}

// Done is closed when it has ended, and its handler is not running any more.
func (s *Subscriber) Done() <-chan struct{} { return s.done }

type options struct {
	queue   string
	onError func(*Message, error)
}

// Option changes a subscription.
type Option func(*options)

// Queue makes the subscriber one of a group that shares the messages.
func Queue(name string) Option { return func(o *options) { o.queue = name } }

// OnError gets the messages that a handler failed for, and the error.
func OnError(f func(*Message, error)) Option { return func(o *options) { o.onError = f } }

// Broker is that of the namespace that a client works for.
type Broker struct {
	client client.Client
	log    *slog.Logger
}

// New makes a Broker.
func New(c client.Client) *Broker { return &Broker{c, logger.Default()} }

func ofService() (*Broker, error) {
	c, err := current.Client()
	if err != nil {
		return nil, err
	}
	return New(c), nil
}

// Publish hands a message over. That nobody listens is no error.
func Publish(topic string, m *Message) error {
	b, err := ofService()
	if err != nil {
		return err
	}
	return b.Publish(context.Background(), topic, m)
}

// Subscribe listens to a topic until Unsubscribe. A connection that is lost is
// made again; what was published meanwhile does not come.
func Subscribe(topic string, h Handler, opts ...Option) (*Subscriber, error) {
	b, err := ofService()
	if err != nil {
		return nil, err
	}
	return b.Subscribe(context.Background(), topic, h, opts...)
}

// Publish is like the function.
func (b *Broker) Publish(ctx context.Context, topic string, m *Message) error {
	if m == nil {
		return errors.New(codes.InvalidArgument, "Missing message").From("go.micro.client")
	}
	header := maps.Clone(m.Header)
	if header == nil {
		header = map[string]string{}
	}
	if header["Content-Type"] == "" {
		header["Content-Type"] = "application/protobuf"
	}
	header["Micro-Topic"] = topic
	req := b.client.NewRequest(service, "Broker.Publish", &brokerpb.PublishRequest{Topic: topic, Message: &brokerpb.Message{Header: header, Body: m.Body}})
	return b.client.Call(ctx, req, &brokerpb.Empty{}, client.WithAuthToken(), client.WithRequestTimeout(publishTimeout))
}

// Subscribe is like the function; it also ends with ctx.
func (b *Broker) Subscribe(ctx context.Context, topic string, h Handler, opts ...Option) (*Subscriber, error) {
	if topic == "" || h == nil {
		return nil, errors.New(codes.InvalidArgument, "a subscription wants a topic and a handler").From("go.micro.client")
	}
	o := options{onError: func(m *Message, err error) {
		b.log.Error("a message was not handled", "topic", m.Topic(), "error", err)
	}}
	for _, set := range opts {
		set(&o)
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &Subscriber{topic: topic, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		b.listen(ctx, topic, h, o)
	}()
	return s, nil
}

// listen subscribes again and again until ctx ends.
func (b *Broker) listen(ctx context.Context, topic string, h Handler, o options) {
	wait, last := retryMin, ""
	for ctx.Err() == nil {
		began := time.Now()
		err := b.receive(ctx, topic, h, o)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > retryMax { // it worked for a while
			wait, last = retryMin, ""
		}
		if text := fmt.Sprint(err); text != last { // one that lasts is said once
			b.log.Warn("not subscribed, trying again", "topic", topic, "error", err)
			last = text
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait/2 + rand.N(wait)): // spread out what many do at once
		}
		wait = min(2*wait, retryMax)
	}
}

func (b *Broker) receive(ctx context.Context, topic string, h Handler, o options) error {
	req := b.client.NewRequest(service, "Broker.Subscribe", &brokerpb.SubscribeRequest{Topic: topic, Queue: o.queue})
	s, err := b.client.Stream(ctx, req, client.WithAuthToken())
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.CloseSend(); err != nil {
		return err
	}
	for {
		in := &brokerpb.Message{}
		if err := s.RecvMsg(in); err != nil {
			return err
		}
		m := &Message{Header: in.GetHeader(), Body: in.GetBody()}
		if m.Header == nil {
			m.Header = map[string]string{}
		}
		if err := handle(h, m); err != nil {
			o.onError(m, err)
		}
	}
}

// handle makes an error of a panic: one bad message does not end a service.
func handle(h Handler, m *Message) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return h(m)
}
