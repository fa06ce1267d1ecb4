package events

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/redistest"
	eventspb "github.com/micro/platform/proto/events"
)

// deaf is a connection that breaks before the answer to a command arrives.
type deaf struct {
	net.Conn

	command string
	times   *atomic.Int32 // how often to break
	broken  bool
}

func (c *deaf) Write(b []byte) (int, error) {
	if strings.Contains(string(b), c.command) && c.times.Add(-1) >= 0 {
		c.broken = true
	}
	return c.Conn.Write(b)
}

func (c *deaf) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.broken && err == nil {
		c.Close() //nolint:errcheck // it is broken
		return 0, net.ErrClosed
	}
	return n, err
}

// TestLostAnswer shows that an event whose answer got lost on the way is there
// once, on one Redis and on a cluster, and that its publisher hears of it.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	var times atomic.Int32
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return &deaf{Conn: c, command: "NOMKSTREAM", times: &times}, err
	}
	o, err := redis.ParseURL(redistest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	const patience = time.Minute // with the disk of a busy machine
	o.Dialer, o.MaxRetries, o.ReadTimeout = dial, -1, patience
	one := redis.NewClient(o)
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: redistest.Cluster(t).Options().Addrs, Dialer: dial, ReadTimeout: patience})
	for name, client := range map[string]redis.UniversalClient{"one": one, "cluster": cluster} {
		t.Cleanup(func() { client.Close() })
		p, ns := start(t, client, options()), redistest.Namespace(t)
		publish(t, p, ns, "orders", "0")
		times.Store(1)
		_, err := p.Publish(as(t.Context(), ns), &eventspb.PublishRequest{Topic: "orders", Payload: []byte("1")})
		if errors.Code(err) != codes.Unavailable {
			t.Errorf("%s: the publisher hears %v", name, err)
		}
		publish(t, p, ns, "orders", "2")
		if got := read(t, p, ns, &eventspb.ReadRequest{Topic: "orders"}); fmt.Sprint(got) != "[0 1 2]" {
			t.Errorf("%s: there are %v", name, got)
		}
	}
}

// TestReplicas shows that an event is acknowledged when a replica has it, and
// not while there is none.
func TestReplicas(t *testing.T) {
	t.Parallel()
	master, replica := redistest.Replicated(t)
	o := options()
	o.Replicas = 1
	p, ns := start(t, master, o), redistest.Namespace(t)
	publish(t, p, ns, "orders", numbers(0, 10)...)
	at, err := newTopic(ns, "orders")
	if err != nil {
		t.Fatal(err)
	}
	if n := replica.XLen(t.Context(), at.key()).Val(); n != 10 {
		t.Errorf("the replica has %d events of 10", n)
	}
	if err := replica.ReplicaOf(t.Context(), "NO", "ONE").Err(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(as(t.Context(), ns), 4*replicaTimeout)
	defer cancel()
	_, err = p.Publish(ctx, &eventspb.PublishRequest{Topic: "orders", Payload: []byte("x")})
	wantCode(t, err, codes.Unavailable, "too few replicas")
}

// TestLeavesLargeEvents shows that what a process has left is taken over whole,
// also when it is more than is taken at once.
func TestLeavesLargeEvents(t *testing.T) {
	t.Parallel()
	p, ns := setup(t)
	req := manual("orders", "g", time.Minute, -1)
	req.Window = maxWindow
	s := consume(t, p, ns, req)
	want := numbers(0, takePage+50)
	large := strings.Repeat("x", 4<<10)
	batch := &eventspb.PublishBatchRequest{Topic: "orders"}
	for _, n := range want {
		batch.Events = append(batch.Events, &eventspb.Event{Payload: []byte(n + " " + large)})
	}
	if _, err := p.PublishBatch(as(t.Context(), ns), batch); err != nil {
		t.Fatal(err)
	}
	s.payloads(t, len(want))
	s.close()
	s = consume(t, p, ns, req)
	for i, n := range want {
		e := s.next(t)
		if string(e.GetPayload()) != n+" "+large || e.GetAttempt() != 2 {
			t.Fatalf("event %d is %.10q, attempt %d", i, e.GetPayload(), e.GetAttempt())
		}
		s.answer(t, e.GetId(), true)
	}
	settles(t, p, ns, "orders", "g", 0, 0)
}

// TestReplayOfPending shows that a replay neither sends what a consumer has, nor
// takes from its window.
func TestReplayOfPending(t *testing.T) {
	t.Parallel()
	p, ns := setup(t)
	req := manual("orders", "g", time.Minute, -1)
	req.Window = 10
	s := consume(t, p, ns, req)
	ids := publish(t, p, ns, "orders", numbers(0, 10)...)
	s.payloads(t, 10)
	s.answer(t, ids[0], true)
	settles(t, p, ns, "orders", "g", 0, 9)
	for range 3 {
		if _, err := (groupsAPI{s: p.Service}).Seek(as(t.Context(), ns), &eventspb.SeekRequest{Topic: "orders", Group: "g", Start: true}); err != nil {
			t.Fatal(err)
		}
		if e := s.next(t); e.GetId() != ids[0] {
			t.Fatalf("event %v comes again", e)
		}
		s.answer(t, ids[0], true)
		settles(t, p, ns, "orders", "g", 0, 9)
	}
	for _, id := range ids[1:] {
		s.answer(t, id, true)
	}
	settles(t, p, ns, "orders", "g", 0, 0)
	publish(t, p, ns, "orders", numbers(10, 20)...)
	s.payloads(t, 10)
}

// TestCutOffAtTheStart shows that a consumer that goes while its group starts
// does not keep others out.
func TestCutOffAtTheStart(t *testing.T) {
	t.Parallel()
	p, ns := setup(t)
	at, err := newTopic(ns, "orders")
	if err != nil {
		t.Fatal(err)
	}
	publish(t, p, ns, "orders", "x")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		c := newConsumer(auto("orders", "g"))
		src := shared{db: p.db, room: p.room, topic: at, group: "g", process: p.hub.process}
		if g, err := p.hub.join(gone, at, "g", src, c); err == nil {
			p.hub.leave(g, c)
		}
	}
	if n := joined(p); n != 0 {
		t.Errorf("%d consumers are counted", n)
	}
	consume(t, p, ns, &eventspb.ConsumeRequest{Topic: "orders", Group: "g", AutoAck: true, Offset: 1})
}
