package broker

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/micro/platform/internal/linetest"
	"github.com/micro/platform/internal/redistest"
	brokerpb "github.com/micro/platform/proto/broker"
)

// TestSilence shows that a connection to Redis which has died without a word is
// noticed, and that all subscribers hear again.
func TestSilence(t *testing.T) {
	t.Parallel()
	var line linetest.Line
	t.Cleanup(line.Close)
	o, err := redis.ParseURL(redistest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	o.Dialer = line.Dial
	// As the kernel does to the connections of a component: those that are kept
	// for commands are silent, too, and one after the other has to be found so.
	o.ReadTimeout = time.Second
	r := redis.NewClient(o)
	t.Cleanup(func() { r.Close() })
	p, other := startOn(t, r, Options{}), start(t, Options{})
	ns := redistest.Namespace(t)
	subscribers := []brokerpb.Broker_SubscribeClient{
		p.subscribe(t, as(t, ns), "a.b", ""), p.subscribe(t, as(t, ns), "a.*", ""), p.subscribe(t, as(t, ns), "a.b", "q"),
	}
	line.Silence()
	ctx, cancel := context.WithCancel(as(t, ns))
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			other.client.Publish(ctx, &brokerpb.PublishRequest{Topic: "a.b", Message: &brokerpb.Message{Body: []byte("x")}}) //nolint:errcheck // again
			<-time.After(50 * time.Millisecond)
		}
	}()
	for _, s := range subscribers {
		next(t, s) // never, if nobody tries a connection that says nothing
	}
}

// TestUnsentIsGivenOn shows that of a member of a queue that goes, only what was
// being sent is lost.
func TestUnsentIsGivenOn(t *testing.T) {
	t.Parallel()
	s := newSubscriber("demo", "t", "q", Options{Buffer: 10, BufferBytes: 1 << 20})
	for i := range 3 {
		if !s.offer(&brokerpb.Message{Body: fmt.Append(nil, i)}, false) {
			t.Fatal("no room")
		}
	}
	gone := errors.New("gone")
	if err := s.pump(t.Context(), func(*brokerpb.Message) error { return gone }); !errors.Is(err, gone) {
		t.Fatalf("pump = %v", err)
	}
	left := s.take()
	if len(left) != 2 || string(left[0].GetBody()) != "1" {
		t.Errorf("left are %v", left)
	}
	if s.offer(&brokerpb.Message{}, false) {
		t.Error("one that has gone takes a message")
	}
}
