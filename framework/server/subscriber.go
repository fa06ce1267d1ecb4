package server

import (
	"context"
	"fmt"
	"reflect"
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/framework/broker"
	"github.com/micro/platform/framework/internal/codec"
	registrypb "github.com/micro/platform/proto/registry"
)

// Subscription is a topic with what handles its messages.
type Subscription struct {
	// Topic may have the wildcards of package broker.
	Topic string
	// Queue is shared by those who have the same: one of them gets each message.
	Queue string

	handlers []subscriberMethod
}

type subscriberMethod struct {
	name    string // Func, or Type.Method
	call    reflect.Value
	message reflect.Type
}

// SubscriberOption changes a Subscription.
type SubscriberOption func(*Subscription)

// SubscriberQueue makes the instances of a service share the messages.
func SubscriberQueue(name string) SubscriberOption { return func(s *Subscription) { s.Queue = name } }

// Subscribe makes a function, or the methods of an object, handle what is
// published to a topic. They are of the form
// func(context.Context, *Message) error; the message is of protobuf or JSON.
func (s *Server) Subscribe(topic string, handler any, opts ...SubscriberOption) error {
	sub := &Subscription{Topic: topic}
	for _, set := range opts {
		set(sub)
	}
	sub.handlers = subscriberMethods(handler)
	if topic == "" || len(sub.handlers) == 0 {
		return s.failed(fmt.Errorf("a subscriber wants a topic and a func(context.Context, *Message) error, or an object with such methods; got %q and %T", topic, handler))
	}
	s.subscriptions = append(s.subscriptions, sub)
	return nil
}

// Subscriptions answers what Subscribe was given.
func (s *Server) Subscriptions() []*Subscription { return s.subscriptions }

func subscriberMethods(handler any) []subscriberMethod {
	v := reflect.ValueOf(handler)
	if !v.IsValid() {
		return nil
	}
	if v.Kind() == reflect.Func {
		if message, ok := subscriberMessage(v.Type()); ok && !v.IsNil() {
			return []subscriberMethod{{"Func", v, message}}
		}
		return nil
	}
	name, err := handlerName(handler)
	if err != nil {
		return nil
	}
	var all []subscriberMethod
	for i := range v.NumMethod() {
		if message, ok := subscriberMessage(v.Method(i).Type()); ok {
			all = append(all, subscriberMethod{name + "." + v.Type().Method(i).Name, v.Method(i), message})
		}
	}
	return all
}

func subscriberMessage(f reflect.Type) (reflect.Type, bool) {
	if f.IsVariadic() || f.NumIn() != 2 || f.In(0) != contextType || !isMessage(f.In(1)) || f.NumOut() != 1 || f.Out(0) != errorType {
		return nil, false
	}
	return f.In(1).Elem(), true
}

// Handle decodes a message and hands it to the subscriber. Calls that the
// subscriber makes with its context carry token, which is the service's own:
// whoever published the message gave no right to act in their name.
func (s *Subscription) Handle(ctx context.Context, m *broker.Message, token string) error {
	md := metadata.MD{}
	for name, value := range m.Header {
		md.Set(name, value)
	}
	md.Delete("authorization")
	if token != "" {
		md.Set("authorization", "Bearer "+token)
	}
	ctx = metadata.NewIncomingContext(ctx, md)
	subtype := codec.Proto
	if strings.Contains(m.Header["Content-Type"], "json") {
		subtype = codec.JSON
	}
	for _, h := range s.handlers {
		in := reflect.New(h.message)
		if err := codec.Decode(subtype, m.Body, in.Interface()); err != nil {
			return fmt.Errorf("decode message for %s: %w", h.name, err)
		}
		if err, _ := h.call.Call([]reflect.Value{reflect.ValueOf(ctx), in})[0].Interface().(error); err != nil {
			return fmt.Errorf("%s: %w", h.name, err)
		}
	}
	return nil
}

// endpoints describes the subscription to the registry.
func (s *Subscription) endpoints() []*registrypb.Endpoint {
	var all []*registrypb.Endpoint
	for _, h := range s.handlers {
		all = append(all, &registrypb.Endpoint{
			Name: h.name, Request: describe(h.message),
			Metadata: map[string]string{"topic": s.Topic, "subscriber": "true"},
		})
	}
	return all
}
