package server

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/framework/auth"
	"github.com/micro/platform/framework/broker"
	"github.com/micro/platform/framework/logger"
	"github.com/micro/platform/framework/metadata"
	registrypb "github.com/micro/platform/proto/registry"
)

type Orders struct{ got []string }

func (o *Orders) New(ctx context.Context, m *registrypb.Value) error {
	token, _ := metadata.Get(ctx, "Authorization")
	topic, _ := metadata.Get(ctx, "Micro-Topic")
	o.got = append(o.got, fmt.Sprint(m.GetName(), " ", topic, " ", token))
	return nil
}

func (o *Orders) Helper() string { return "no subscriber" }

// TestSubscribe shows how messages are decoded, whose token their handler has,
// and what the registry is told.
func TestSubscribe(t *testing.T) {
	t.Parallel()
	s := New("billing", logger.Default(), auth.NewVerifier(nil))
	o := &Orders{}
	if err := s.Subscribe("orders.*", o, SubscriberQueue("q")); err != nil {
		t.Fatal(err)
	}
	failing := func(context.Context, *struct{ Name string }) error { return fmt.Errorf("not now") }
	if err := s.Subscribe("plain", failing); err != nil {
		t.Fatal(err)
	}
	sub := s.Subscriptions()[0]
	inProto, err := proto.Marshal(&registrypb.Value{Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*broker.Message{
		{Header: map[string]string{"Micro-Topic": "orders.new", "authorization": "Bearer publisher"}, Body: inProto},
		{Header: map[string]string{"Micro-Topic": "orders.new", "Content-Type": "application/json"}, Body: []byte(`{"name":"b"}`)},
	} {
		if err := sub.Handle(t.Context(), m, "own"); err != nil {
			t.Error(err)
		}
	}
	if got, want := strings.Join(o.got, ", "), "a orders.new Bearer own, b orders.new Bearer own"; got != want {
		t.Errorf("handled %q, want %q", got, want)
	}
	if err := sub.Handle(t.Context(), &broker.Message{Body: []byte("\xff")}, ""); err == nil || !strings.Contains(err.Error(), "decode message for Orders.New") {
		t.Errorf("garbage: %v", err)
	}
	err = s.Subscriptions()[1].Handle(t.Context(), &broker.Message{Header: map[string]string{"Content-Type": "application/json"}, Body: []byte(`{}`)}, "")
	if err == nil || err.Error() != "Func: not now" {
		t.Errorf("a failing handler: %v", err)
	}
	var seen []string
	for _, e := range s.Endpoints() {
		seen = append(seen, e.GetName()+" "+e.GetMetadata()["topic"]+" "+e.GetMetadata()["subscriber"])
	}
	if got, want := strings.Join(seen, ", "), "Orders.New orders.* true, Func plain true"; got != want {
		t.Errorf("endpoints = %q, want %q", got, want)
	}
}

func TestSubscribeRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, topic string
		handler     any
	}{
		{"no topic", "", func(context.Context, *registrypb.Value) error { return nil }},
		{"nothing", "t", nil},
		{"no method that fits", "t", &struct{}{}},
		{"another form", "t", func(*registrypb.Value) error { return nil }},
		{"value, not pointer", "t", func(context.Context, string) error { return nil }},
	} {
		s := New("billing", logger.Default(), auth.NewVerifier(nil))
		if err := s.Subscribe(tt.topic, tt.handler); err == nil || s.Err() == nil {
			t.Errorf("%s: Subscribe = %v, and Run would answer %v", tt.name, err, s.Err())
		}
	}
}
