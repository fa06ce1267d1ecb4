package broker

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/micro/platform/framework/client"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/redistest"
	brokerpb "github.com/micro/platform/proto/broker"
	platform "github.com/micro/platform/services/broker"
)

const patience = 10 * time.Second

// server is the platform's real broker, for a service of a namespace. It can go
// away and come back.
type server struct {
	svc                *platform.Service
	namespace, address string
	stop               func()
}

func start(t *testing.T) *server {
	t.Helper()
	s := &server{address: "127.0.0.1:0", namespace: redistest.Namespace(t)}
	s.svc = platform.New(redistest.New(t), slog.New(slog.DiscardHandler), platform.Options{Subscribers: 10, Buffer: 100, BufferBytes: 1 << 20, NamespaceBytes: 64 << 20, Wait: time.Minute})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.svc.Listen(ctx) }() //nolint:errcheck // it only ends when told
	t.Cleanup(func() { s.stop(); cancel(); <-done })
	s.serve(t)
	return s
}

func (s *server) serve(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	s.address = l.Addr().String()
	as := func(ctx context.Context) context.Context {
		return identity.With(ctx, identity.Caller{ID: "svc", Type: identity.Service, Namespace: s.namespace})
	}
	g := grpc.NewServer(
		grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			return handle(as(ctx), req)
		}),
		grpc.StreamInterceptor(func(srv any, st grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			return handle(srv, stream{st, as(st.Context())})
		}),
	)
	brokerpb.RegisterBrokerServer(g, s.svc)
	go g.Serve(l) //nolint:errcheck // it ends by Stop
	s.stop = g.Stop
}

type stream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s stream) Context() context.Context { return s.ctx }

func (s *server) broker(t *testing.T) *Broker {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+s.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	b := New(client.New(conn, client.Options{Namespace: s.namespace, Token: func(context.Context) (string, error) { return "", nil }}))
	b.log = slog.New(slog.DiscardHandler)
	return b
}

// reaches publishes until a message is handled: a subscription begins when it
// begins.
func reaches(t *testing.T, b *Broker, topic string, got <-chan *Message) *Message {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		// While the platform is away, Publish says so.
		_ = b.Publish(t.Context(), topic, &Message{Header: map[string]string{"Authorization": "Bearer x"}, Body: []byte("x")})
		select {
		case m := <-got:
			return m
		case <-time.After(20 * time.Millisecond):
		}
	}
	t.Fatal("no message came")
	return nil
}

// TestSubscribe shows that a subscription outlives the platform's absence, and
// a handler's errors and panics.
func TestSubscribe(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := s.broker(t)
	got, failed := make(chan *Message, 1000), make(chan error, 1000)
	sub, err := b.Subscribe(t.Context(), "orders.*", func(m *Message) error {
		got <- m
		if len(got)%2 == 0 {
			panic("boom")
		}
		return fmt.Errorf("not now")
	}, Queue("q"), OnError(func(_ *Message, err error) { failed <- err }))
	if err != nil {
		t.Fatal(err)
	}
	m := reaches(t, b, "orders.new", got)
	if m.Topic() != "orders.new" || m.Header["Content-Type"] != "application/protobuf" || m.Header["Authorization"] != "" || string(m.Body) != "x" {
		t.Errorf("message = %+v", m)
	}
	if err := <-failed; err == nil {
		t.Error("the handler's error is lost")
	}
	s.stop()
	s.serve(t)
	reaches(t, b, "orders.new", got)
	if err := sub.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-sub.Done():
	case <-time.After(patience):
		t.Error("it does not end")
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	b := start(t).broker(t)
	if err := b.Publish(t.Context(), "t", nil); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("no message: %v", err)
	}
	if err := b.Publish(t.Context(), "", &Message{}); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("no topic: %v", err)
	}
	if _, err := b.Subscribe(t.Context(), "", func(*Message) error { return nil }); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("subscribe to nothing: %v", err)
	}
	if _, err := NewMessage(make(chan int)); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("no JSON: %v", err)
	}
}
