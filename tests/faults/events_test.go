package faults

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	frameworkclient "github.com/micro/platform/framework/client"
	frameworkevents "github.com/micro/platform/framework/events"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/services/events"
)

const (
	publishers = 8
	topic      = "orders"
	// ackWait is short, so that what a consumer was sent and lost comes again
	// before the test ends.
	ackWait = 2 * time.Second
	// settle is how long consumers get for what was published.
	settle = time.Minute
)

// serveEvents is the component events, whose callers are all one tenant.
func serveEvents(redisURL, at string) error {
	o, err := redis.ParseURL(redisURL)
	if err != nil {
		return err
	}
	svc := events.New(redis.NewClient(o), slog.New(slog.DiscardHandler), events.Options{
		MaxAge: time.Hour, MaxBytes: 1 << 30, MaxTopics: 10, MaxGroups: 10, MaxConsumers: 100, Sweep: time.Second, Scan: time.Second})
	s := grpc.NewServer(
		grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			return h(tenant(ctx), req)
		}),
		grpc.StreamInterceptor(func(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, h grpc.StreamHandler) error {
			return h(srv, known{s})
		}))
	svc.Register(s)
	l, err := net.Listen("tcp", at)
	if err != nil {
		return err
	}
	go s.Serve(l) //nolint:errcheck // ends with the process
	return svc.Run(context.Background())
}

func tenant(ctx context.Context) context.Context {
	return identity.With(ctx, identity.Caller{ID: "orders", Type: identity.Service, Namespace: "acme", Scopes: []string{"service"}})
}

type known struct{ grpc.ServerStream }

func (k known) Context() context.Context { return tenant(k.ServerStream.Context()) }

// counts is what became of the numbered events.
type counts struct {
	mu       sync.Mutex
	sent     int
	acked    map[string]bool
	received map[string]map[string]int // by group
	last     map[string]int            // by publisher: the highest number that the single consumer has had
	disorder []string
}

// TestEvents kills Redis and the component while events are published and
// consumed: what was acknowledged to its publisher reaches every group, and the
// one consumer of a group gets each publisher's in order.
func TestEvents(t *testing.T) {
	t.Parallel()
	server, url := durableRedis(t)
	at := address(t)
	svc := component(t, "events", url, at)
	conn, err := grpc.NewClient(at, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: 200 * time.Millisecond}, MinConnectTimeout: time.Second}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	stream := frameworkevents.New(frameworkclient.New(conn, frameworkclient.Options{Token: func(context.Context) (string, error) { return "", nil }}))

	c := &counts{acked: map[string]bool{}, received: map[string]map[string]int{"single": {}, "many": {}}, last: map[string]int{}}
	ctx, cancel := context.WithCancel(t.Context())
	var consuming sync.WaitGroup
	t.Cleanup(func() { cancel(); consuming.Wait() })
	for _, group := range []string{"single", "many", "many", "many"} {
		in, err := stream.Consume(topic, frameworkevents.WithContext(ctx), frameworkevents.WithGroup(group),
			frameworkevents.WithOffset(time.Now().Add(-time.Hour)), frameworkevents.WithAutoAck(false, ackWait))
		if err != nil {
			t.Fatal(err)
		}
		consuming.Go(func() {
			for e := range in {
				c.take(group, string(e.Payload))
				e.Ack() //nolint:errcheck // it comes again
			}
		})
	}
	kills := c.torment(t, stream, server, svc)
	c.await(t)
	c.report(t, kills)
}

// torment publishes while it kills, and answers how often it did.
func (c *counts) torment(t *testing.T, stream *frameworkevents.Stream, server, svc *process) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), duration(t))
	defer cancel()
	var publishing sync.WaitGroup
	for p := range publishers {
		publishing.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				c.publish(ctx, stream, fmt.Sprintf("%d/%d", p, n))
			}
		})
	}
	kills := 0
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(200+rand.IntN(800)) * time.Millisecond):
			victim := server
			if rand.IntN(2) == 0 {
				victim = svc
			}
			victim.kill()
			<-time.After(time.Duration(rand.IntN(200)) * time.Millisecond) // of being away
			victim.up()
			kills++
		}
	}
	publishing.Wait()
	return kills
}

// publish tries an event until it is acknowledged, so that each publisher's are
// in order.
func (c *counts) publish(ctx context.Context, stream *frameworkevents.Stream, name string) {
	c.mu.Lock()
	c.sent++
	c.mu.Unlock()
	for ctx.Err() == nil {
		try, cancel := context.WithTimeout(ctx, 3*time.Second)
		err := stream.Publish(topic, []byte(name), frameworkevents.WithPublishContext(try))
		cancel()
		if err == nil {
			c.mu.Lock()
			c.acked[name] = true
			c.mu.Unlock()
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (c *counts) take(group, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.received[group][name]++
	if group != "single" || c.received[group][name] > 1 {
		return
	}
	publisher, text, _ := strings.Cut(name, "/")
	n, _ := strconv.Atoi(text)
	if last, ok := c.last[publisher]; ok && n < last {
		c.disorder = append(c.disorder, fmt.Sprintf("%s after %d", name, last))
	}
	c.last[publisher] = max(n, c.last[publisher])
}

// lost answers how many acknowledged events a group has not had.
func (c *counts) lost(group string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for name := range c.acked {
		if c.received[group][name] == 0 {
			n++
		}
	}
	return n
}

func (c *counts) await(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(settle); c.lost("single")+c.lost("many") > 0 && time.Now().Before(deadline); {
		<-time.After(20 * time.Millisecond)
	}
}

func (c *counts) report(t *testing.T, kills int) {
	t.Helper()
	if len(c.acked) == 0 {
		t.Fatal("nothing was published")
	}
	for group, received := range c.received {
		lost, total := c.lost(group), 0
		c.mu.Lock()
		for _, n := range received {
			total += n
		}
		t.Logf("events, group %s: %d kills, sent %d, acked %d, received %d, lost %d, doubled %d",
			group, kills, c.sent, len(c.acked), total, lost, total-len(received))
		c.mu.Unlock()
		if lost > 0 {
			t.Errorf("group %s has lost %d acknowledged events", group, lost)
		}
	}
	if len(c.disorder) > 0 {
		t.Errorf("%d events came out of order: %v", len(c.disorder), c.disorder[:min(10, len(c.disorder))])
	}
}
