package broker

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/redistest"
	brokerpb "github.com/micro/platform/proto/broker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// running is one broker with clients for any namespace.
type running struct {
	*Service
	client brokerpb.BrokerClient
	stop   func()
}

// start runs a broker on the tests' Redis.
func start(t testing.TB, o Options) *running {
	t.Helper()
	return startOn(t, redistest.New(t), o)
}

func startOn(t testing.TB, r redis.UniversalClient, o Options) *running {
	t.Helper()
	if o.Subscribers == 0 {
		o.Subscribers = 100
	}
	if o.Buffer == 0 {
		o.Buffer = 1024
	}
	if o.BufferBytes == 0 {
		o.BufferBytes = 4 << 20
	}
	if o.NamespaceBytes == 0 {
		o.NamespaceBytes = 64 << 20
	}
	if o.Wait == 0 {
		o.Wait = time.Minute
	}
	s := New(r, slog.New(slog.DiscardHandler), o)
	s.refusal = 50 * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Listen(ctx) }() //nolint:errcheck // it only ends when told

	g := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
		return h(identified(ctx), req)
	}), grpc.StreamInterceptor(func(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, h grpc.StreamHandler) error {
		return h(srv, stream{s, identified(s.Context())})
	}))
	brokerpb.RegisterBrokerServer(g, s)
	pipe := bufconn.Listen(1 << 20)
	go g.Serve(pipe) //nolint:errcheck // ends by Stop
	conn, err := grpc.NewClient("passthrough:///memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		conn.Close()
		g.Stop()
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return &running{s, brokerpb.NewBrokerClient(conn), stop}
}

type stream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s stream) Context() context.Context { return s.ctx }

func identified(ctx context.Context) context.Context {
	v := metadata.ValueFromIncomingContext(ctx, "test-namespace")
	if len(v) == 0 {
		return ctx
	}
	return identity.With(ctx, identity.Caller{ID: "jane", Namespace: v[0], Type: identity.User})
}

func as(t testing.TB, namespace string, more ...string) context.Context {
	return metadata.AppendToOutgoingContext(t.Context(), append([]string{"test-namespace", namespace}, more...)...)
}

// subscribe comes back when messages are heard.
func (p *running) subscribe(t testing.TB, ctx context.Context, topic, queue string) brokerpb.Broker_SubscribeClient {
	t.Helper()
	s, err := p.client.Subscribe(ctx, &brokerpb.SubscribeRequest{Topic: topic, Queue: queue})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Header(); err != nil {
		t.Fatal(err)
	}
	return s
}

func (p *running) publish(t testing.TB, ctx context.Context, topic, body string) {
	t.Helper()
	_, err := p.client.Publish(ctx, &brokerpb.PublishRequest{Topic: topic, Message: &brokerpb.Message{Body: []byte(body)}})
	if err != nil {
		t.Fatalf("Publish(%q): %v", topic, err)
	}
}

func next(t testing.TB, s brokerpb.Broker_SubscribeClient) *brokerpb.Message {
	t.Helper()
	type result struct {
		m   *brokerpb.Message
		err error
	}
	got := make(chan result, 1)
	go func() { m, err := s.Recv(); got <- result{m, err} }()
	select {
	case r := <-got:
		if r.err != nil {
			t.Fatalf("Recv: %v", r.err)
		}
		return r.m
	case <-time.After(patience):
		t.Fatal("no message came")
		return nil
	}
}

// TestTopics shows who gets what, at the process that was published at and at
// another one. Each namespace's subscriber gets the last message only if it
// should have got none of those before.
func TestTopics(t *testing.T) {
	t.Parallel()
	a, b := start(t, Options{}), start(t, Options{})
	for _, tt := range []struct {
		pattern string
		topics  []string
		want    string
	}{
		{"orders", []string{"orders", "orders.x", "order", "Orders"}, "orders"},
		{"orders.*", []string{"orders", "orders.a", "orders.a.b", "orders.b"}, "orders.a orders.b"},
		{"orders.>", []string{"orders", "orders.a", "orders.a.b", "ordersx.a"}, "orders.a orders.a.b"},
		{"*.new", []string{"orders.new", "users.new", "new", "a.b.new"}, "orders.new users.new"},
		{"*.*.c", []string{"a.b.c", "a.c", "x.y.c"}, "a.b.c x.y.c"},
		{">", []string{"a", "b.c"}, "a b.c"},
		{"*", []string{"a", "b.c"}, "a"},
		{"a*", []string{"ab", "a*"}, "a*"},
		{"a?[b]\\.*", []string{"a?[b]\\.x", "axb.x"}, "a?[b]\\.x"},
		{"/path with {braces}:topic:x", []string{"/path with {braces}:topic:x", "x"}, "/path with {braces}:topic:x"},
		{"a..b", []string{"a..b", "a.b"}, "a..b"},
		{"a.*.b", []string{"a..b", "a.b"}, "a..b"},
		{"größe", []string{"größe"}, "größe"},
	} {
		t.Run(tt.pattern, func(t *testing.T) {
			t.Parallel()
			ns, other := redistest.Namespace(t), redistest.Namespace(t)
			all := []brokerpb.Broker_SubscribeClient{
				a.subscribe(t, as(t, ns), tt.pattern, ""), b.subscribe(t, as(t, ns), tt.pattern, ""),
				a.subscribe(t, as(t, ns), tt.pattern, "q"),
			}
			foreign := b.subscribe(t, as(t, other), ">", "")
			last := strings.NewReplacer("*", "last", ">", "last").Replace(tt.pattern)
			if tt.pattern == "a*" {
				last = tt.pattern
			}
			for _, topic := range append(tt.topics, last) {
				a.publish(t, as(t, ns), topic, topic)
			}
			a.publish(t, as(t, other), "own", "own")
			for i, s := range all {
				var got []string
				for {
					m := next(t, s)
					if string(m.GetBody()) == last && (last != tt.want || len(got) > 0) {
						break
					}
					got = append(got, string(m.GetBody()))
				}
				if strings.Join(got, " ") != tt.want {
					t.Errorf("subscriber %d of %q got %q, want %q", i, tt.pattern, got, tt.want)
				}
			}
			if m := next(t, foreign); string(m.GetBody()) != "own" {
				t.Errorf("another namespace got %q", m.GetBody())
			}
		})
	}
}

// TestQueue shows that of a queue exactly one gets each message, and that all
// of it get some, whatever process they are at.
func TestQueue(t *testing.T) {
	t.Parallel()
	a, b := start(t, Options{}), start(t, Options{})
	for _, pattern := range []string{"work", "work.*"} {
		t.Run(pattern, func(t *testing.T) {
			t.Parallel()
			const n = 300
			ns := redistest.Namespace(t)
			type heard struct {
				member int
				body   string
			}
			got := make(chan heard, 3*n)
			members := []brokerpb.Broker_SubscribeClient{
				a.subscribe(t, as(t, ns), pattern, "q"), a.subscribe(t, as(t, ns), pattern, "q"), b.subscribe(t, as(t, ns), pattern, "q"),
			}
			another := b.subscribe(t, as(t, ns), pattern, "another")
			each := a.subscribe(t, as(t, ns), pattern, "")
			for i, m := range members {
				go func() {
					for {
						in, err := m.Recv()
						if err != nil {
							return
						}
						got <- heard{i, string(in.GetBody())}
					}
				}()
			}
			topic := strings.Replace(pattern, "*", "x", 1)
			for i := range n {
				[]*running{a, b}[i%2].publish(t, as(t, ns), topic, fmt.Sprint(i))
			}
			seen, share := map[string]int{}, map[int]int{}
			for range n {
				select {
				case h := <-got:
					seen[h.body]++
					share[h.member]++
				case <-time.After(patience):
					t.Fatalf("%d of %d messages came", len(seen), n)
				}
			}
			if len(seen) != n || len(got) != 0 {
				t.Errorf("%d different messages of %d came, %d too many", len(seen), n, len(got))
			}
			for i := range members {
				if share[i] < n/10 {
					t.Errorf("member %d got %d of %d messages", i, share[i], n)
				}
			}
			for range n {
				next(t, another)
				next(t, each)
			}
		})
	}
}

// TestQueueOutlivesAProcess shows that a process that is gone gets nothing, and
// that what its member had not taken others get.
func TestQueueOutlivesAProcess(t *testing.T) {
	t.Parallel()
	a, b := start(t, Options{}), start(t, Options{})
	ns := redistest.Namespace(t)
	b.subscribe(t, as(t, ns), "work", "q")
	b.stop() // before it could say so: its entry is there or not
	// One that died without a word.
	if err := tell(t.Context(), a.redis, "dead", map[queue]int{{ns, "work", "q"}: 1000}); err != nil {
		t.Fatal(err)
	}
	s := a.subscribe(t, as(t, ns), "work", "q")
	// And one that has an entry for this process, but no member.
	if err := tell(t.Context(), a.redis, a.bus.process, map[queue]int{{ns, "work", "r"}: 1}); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		a.publish(t, as(t, ns), "work", fmt.Sprint(i))
	}
	for i := range 20 {
		if m := next(t, s); string(m.GetBody()) != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, m.GetBody())
		}
	}
	if n := a.redis.HLen(t.Context(), queues(ns, "work")).Val(); n != 1 {
		t.Errorf("%d entries are left, want 1", n)
	}
}

// TestSlow shows that one who does not read ends alone, and knows why.
func TestSlow(t *testing.T) {
	t.Parallel()
	p := start(t, Options{Buffer: 50})
	ns := redistest.Namespace(t)
	slow := p.subscribe(t, as(t, ns), "t", "")
	quick := p.subscribe(t, as(t, ns), "t", "")
	body := strings.Repeat("x", 10_000)
	for range 500 {
		p.publish(t, as(t, ns), "t", body)
		next(t, quick)
	}
	n := 0
	for {
		_, err := slow.Recv()
		if err == nil {
			n++
			continue
		}
		if errors.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "too slow") {
			t.Errorf("the slow one ended with %v", err)
		}
		break
	}
	if n >= 500 {
		t.Errorf("the slow one got %d messages", n)
	}
}

func TestOrderAndSize(t *testing.T) {
	t.Parallel()
	a, b := start(t, Options{}), start(t, Options{})
	ns := redistest.Namespace(t)
	s := b.subscribe(t, as(t, ns), "t", "")
	for _, n := range []int{0, 1, maxBody} {
		a.publish(t, as(t, ns), "t", strings.Repeat("\x00", n))
		if m := next(t, s); len(m.GetBody()) != n {
			t.Errorf("%d bytes came of %d", len(m.GetBody()), n)
		}
	}
	for i := range 500 {
		a.publish(t, as(t, ns), "t", fmt.Sprint(i))
	}
	for i := range 500 {
		if m := next(t, s); string(m.GetBody()) != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, m.GetBody())
		}
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	p := start(t, Options{})
	ns := redistest.Namespace(t)
	s := p.subscribe(t, as(t, ns), "t", "")
	_, err := p.client.Publish(as(t, ns, "authorization", "Bearer secret", "traceparent", "00-1-2-3", "user-agent", "x"), &brokerpb.PublishRequest{Topic: "t", Message: &brokerpb.Message{
		Header: map[string]string{"authorization": "Bearer secret", "Authorization": "Bearer secret", "Grpcgateway-Authorization": "Bearer secret", "Cookie": "secret",
			"Content-Type": "application/json", "Micro-Namespace": "other", "Own": "x"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"Content-Type": "application/json", "Micro-Namespace": ns, "Micro-Topic": "t", "Own": "x", "Traceparent": "00-1-2-3"}
	if got := next(t, s).GetHeader(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("headers = %v, want %v", got, want)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	p := start(t, Options{Subscribers: 1})
	ns := redistest.Namespace(t)
	small := &brokerpb.Message{Body: []byte("x")}
	for _, tt := range []struct {
		name, topic string
		message     *brokerpb.Message
		code        codes.Code
		want        string
	}{
		{"no message", "t", nil, codes.InvalidArgument, "Missing message"},
		{"no topic", "", small, codes.InvalidArgument, "Missing topic"},
		{"topic too long", strings.Repeat("t", 513), small, codes.InvalidArgument, "at most 512"},
		{"longest topic", strings.Repeat("t", 512), small, codes.OK, ""},
		{"NUL", "a\x00b", small, codes.InvalidArgument, "control characters"},
		{"line", "a\nb", small, codes.InvalidArgument, "control characters"},
		{"wildcard", "a.*", small, codes.InvalidArgument, "wildcard"},
		{"body too large", "t", &brokerpb.Message{Body: make([]byte, maxBody+1)}, codes.ResourceExhausted, "at most 1048576"},
		{"headers too large", "t", &brokerpb.Message{Header: map[string]string{"a": strings.Repeat("x", maxHeader)}}, codes.ResourceExhausted, "at most 32768"},
	} {
		_, err := p.client.Publish(as(t, ns), &brokerpb.PublishRequest{Topic: tt.topic, Message: tt.message})
		if errors.Code(err) != tt.code || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Publish = %v, want %v %q", tt.name, err, tt.code, tt.want)
		}
	}
	if _, err := p.client.Publish(t.Context(), &brokerpb.PublishRequest{Topic: "t", Message: small}); errors.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), "access denied to namespace") {
		t.Errorf("anonymous Publish = %v", err)
	}
	p.subscribe(t, as(t, ns), "t", "") // the one that is allowed
	for _, tt := range []struct {
		name         string
		ctx          context.Context
		topic, queue string
		code         codes.Code
	}{
		{"anonymous", t.Context(), "t", "", codes.Unauthenticated},
		{"no topic", as(t, ns), "", "", codes.InvalidArgument},
		{"> not last", as(t, ns), "a.>.b", "", codes.InvalidArgument},
		{"queue with NUL", as(t, ns), "a", "q\x00", codes.InvalidArgument},
		{"one too many", as(t, ns), "u", "", codes.ResourceExhausted},
		{"one too many in a queue", as(t, ns), "u", "q", codes.ResourceExhausted},
	} {
		began := time.Now()
		s, err := p.client.Subscribe(tt.ctx, &brokerpb.SubscribeRequest{Topic: tt.topic, Queue: tt.queue})
		if err == nil {
			_, err = s.Recv()
		}
		if errors.Code(err) != tt.code {
			t.Errorf("%s: Subscribe = %v, want %v", tt.name, err, tt.code)
		}
		if took := time.Since(began); took < p.refusal {
			t.Errorf("%s: refused after %v: a client that loops is not held up", tt.name, took)
		}
	}
}

// TestLeaving shows that nothing is left of subscribers who went.
func TestLeaving(t *testing.T) {
	t.Parallel()
	p := start(t, Options{})
	ns := redistest.Namespace(t)
	for _, queue := range []string{"", "q"} {
		for _, topic := range []string{"t", "t.*"} {
			ctx, cancel := context.WithCancel(as(t, ns))
			p.subscribe(t, ctx, topic, queue)
			cancel()
		}
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		p.bus.mu.Lock()
		heard, members, space := len(p.bus.heard), len(p.bus.members), p.bus.spaces[ns]
		p.bus.mu.Unlock()
		keys := p.redis.Exists(t.Context(), queues(ns, "t"), wildQueues(ns)).Val()
		channels := len(p.redis.PubSubChannels(t.Context(), "broker:{"+ns+"}*").Val())
		if heard == 1 && members == 0 && space == nil && keys == 0 && channels == 0 {
			return
		}
	}
	t.Errorf("left: %v %v %v", p.bus.heard, p.bus.members, p.bus.spaces)
}
