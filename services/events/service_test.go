package events

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/rate"
	"github.com/micro/platform/internal/redistest"
	"github.com/micro/platform/internal/tenants"
	eventspb "github.com/micro/platform/proto/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long tests wait for what must come.
const patience = 10 * time.Second

// as is a context with a deployed service of a namespace.
func as(ctx context.Context, namespace string) context.Context {
	return identity.With(ctx, identity.Caller{ID: "svc", Type: identity.Service, Namespace: namespace, Scopes: []string{"service"}})
}

func options() Options {
	return Options{MaxAge: time.Hour, MaxBytes: 1 << 30, MaxTopics: 20, MaxGroups: 20, MaxConsumers: 100, Sweep: time.Hour, Scan: time.Second}
}

// process is the service as one process runs it.
type process struct {
	*Service

	stop func()
}

// start runs a service on a Redis until stop or the end of the test.
func start(t testing.TB, client redis.UniversalClient, o Options) process {
	t.Helper()
	return startPlan(t, client, plans.Limits{Topics: plans.Unlimited, EventRate: plans.Unlimited, EventRetention: plans.Unlimited, EventBytes: plans.Unlimited}, o)
}

// startPlan is start with all namespaces on a plan.
func startPlan(t testing.TB, client redis.UniversalClient, l plans.Limits, o Options) process {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	limiter := rate.New(redistest.New(t), log)
	s := New(client, tenants.Fixed(l), limiter, log, o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error { return limiter.Run(ctx) })
		g.Go(func() error { return s.Run(ctx) })
		ended <- g.Wait()
	}()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("ended: %v", err)
		}
	})
	t.Cleanup(stop)
	return process{s, stop}
}

func setup(t testing.TB) (process, string) {
	t.Helper()
	return start(t, redistest.New(t), options()), redistest.Namespace(t)
}

// stream is a Consume whose client is the test.
type stream struct {
	grpc.ServerStream

	ctx    context.Context
	in     chan *eventspb.ConsumeRequest
	out    chan *eventspb.Event
	cancel func()
	ended  chan error
}

func (s *stream) Context() context.Context { return s.ctx }

func (s *stream) Recv() (*eventspb.ConsumeRequest, error) {
	select {
	case m, ok := <-s.in:
		if !ok {
			return nil, io.EOF
		}
		return m, nil
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
}

func (s *stream) Send(e *eventspb.Event) error {
	select {
	case s.out <- e:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// consume opens a Consume that is let in when it answers.
func consume(t testing.TB, p process, namespace string, req *eventspb.ConsumeRequest) *stream {
	t.Helper()
	ctx, cancel := context.WithCancel(as(context.Background(), namespace))
	s := &stream{ctx: ctx, in: make(chan *eventspb.ConsumeRequest, 1000), out: make(chan *eventspb.Event), cancel: cancel, ended: make(chan error, 1)}
	before := joined(p)
	s.in <- req
	go func() { s.ended <- p.Consume(s) }()
	t.Cleanup(s.close)
	for deadline := time.Now().Add(patience); joined(p) == before; {
		select {
		case err := <-s.ended:
			s.ended <- err
			return s
		case <-time.After(time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("the consumer was not let in")
		}
	}
	return s
}

func joined(p process) int {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	n := 0
	for _, c := range p.hub.consumers {
		n += c
	}
	return n
}

// close ends the stream and waits for the handler.
func (s *stream) close() {
	s.cancel()
	s.ended <- <-s.ended
}

// next answers the next event.
func (s *stream) next(t testing.TB) *eventspb.Event {
	t.Helper()
	select {
	case e := <-s.out:
		return e
	case err := <-s.ended:
		s.ended <- err
		t.Fatalf("the stream ended: %v", err)
	case <-time.After(patience):
		t.Fatal("no event came")
	}
	return nil
}

// none fails if an event comes within a while.
func (s *stream) none(t testing.TB, within time.Duration) {
	t.Helper()
	select {
	case e := <-s.out:
		t.Fatalf("event %s came: %q", e.GetId(), e.GetPayload())
	case <-time.After(within):
	}
}

// answer sends an AckRequest as clients do: as a frame of the same stream.
func (s *stream) answer(t testing.TB, id string, success bool) {
	t.Helper()
	b, err := proto.Marshal(&eventspb.AckRequest{Id: id, Success: success})
	if err != nil {
		t.Fatal(err)
	}
	frame := &eventspb.ConsumeRequest{}
	if err := proto.Unmarshal(b, frame); err != nil {
		t.Fatal(err)
	}
	s.in <- frame
}

func (s *stream) payloads(t testing.TB, n int) []string {
	t.Helper()
	var out []string
	for range n {
		out = append(out, string(s.next(t).GetPayload()))
	}
	return out
}

func publish(t testing.TB, p process, namespace, topic string, payloads ...string) []string {
	t.Helper()
	var ids []string
	for _, x := range payloads {
		rsp, err := p.Publish(as(t.Context(), namespace), &eventspb.PublishRequest{Topic: topic, Payload: []byte(x), Metadata: map[string]string{"n": x}})
		if err != nil {
			var e *errors.Error
			errors.As(err, &e)
			t.Fatalf("%v: %v", err, e.Unwrap())
		}
		ids = append(ids, rsp.GetId())
	}
	return ids
}

func numbers(from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprint(i))
	}
	return out
}

func groupOf(t testing.TB, p process, namespace, topic, name string) *eventspb.Group {
	t.Helper()
	rsp, err := groupsAPI{s: p.Service}.List(as(t.Context(), namespace), &eventspb.ListGroupsRequest{Topic: topic})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range rsp.GetGroups() {
		if g.GetName() == name {
			return g
		}
	}
	t.Fatalf("no group %q among %v", name, rsp.GetGroups())
	return nil
}

// settles waits until a group has a lag and a number of pending events.
func settles(t testing.TB, p process, namespace, topic, name string, lag, pending int64) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		g := groupOf(t, p, namespace, topic, name)
		if g.GetLag() == lag && g.GetPending() == pending {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("lag %d, pending %d, want %d and %d", g.GetLag(), g.GetPending(), lag, pending)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func auto(topic, group string) *eventspb.ConsumeRequest {
	return &eventspb.ConsumeRequest{Topic: topic, Group: group, AutoAck: true, RetryLimit: -1}
}

func manual(topic, group string, wait time.Duration, retries int64) *eventspb.ConsumeRequest {
	return &eventspb.ConsumeRequest{Topic: topic, Group: group, AckWait: int64(wait), RetryLimit: retries}
}

// TestEveryoneGetsAll shows consumers without a group: each has all events from
// its beginning, in order.
func TestEveryoneGetsAll(t *testing.T) {
	t.Parallel()
	p, ns := setup(t)
	publish(t, p, ns, "orders", "before")
	a, b := consume(t, p, ns, auto("orders", "")), consume(t, p, ns, auto("orders", ""))
	want := numbers(0, 300)
	ids := publish(t, p, ns, "orders", want...)
	for _, s := range []*stream{a, b} {
		for i := range want {
			e := s.next(t)
			if string(e.GetPayload()) != want[i] || e.GetId() != ids[i] || e.GetTopic() != "orders" || e.GetMetadata()["n"] != want[i] || e.GetTimestamp() == 0 {
				t.Fatalf("event %d is %v, want %q with id %s", i, e, want[i], ids[i])
			}
		}
	}
}

// TestGroupShares shows that each event goes to one of a group, in this process
// or another.
func TestGroupShares(t *testing.T) {
	t.Parallel()
	p, ns := setup(t)
	q := start(t, redistest.New(t), options())
	streams := []*stream{consume(t, p, ns, auto("orders", "g")), consume(t, p, ns, auto("orders", "g")), consume(t, q, ns, auto("orders", "g"))}
	want := numbers(0, 200)
	publish(t, p, ns, "orders", want...)
	var got []string
	for range want {
		select {
		case e := <-streams[0].out:
			got = append(got, string(e.GetPayload()))
		case e := <-streams[1].out:
			got = append(got, string(e.GetPayload()))
		case e := <-streams[2].out:
			got = append(got, string(e.GetPayload()))
		case <-time.After(patience):
			t.Fatalf("%d events of %d came", len(got), len(want))
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	settles(t, p, ns, "orders", "g", 0, 0)
}

// TestGroupResumes shows that a group goes on where it was, also for what was
// sent and not acknowledged.
func TestGroupResumes(t *testing.T) {
	t.Parallel()
	p, ns := setup(t)
	s := consume(t, p, ns, manual("orders", "g", time.Minute, -1))
	publish(t, p, ns, "orders", numbers(0, 10)...)
	for i := range 5 {
		if e := s.next(t); i < 3 {
			s.answer(t, e.GetId(), true)
		}
	}
	settles(t, p, ns, "orders", "g", 0, 7)
	s.close()
	publish(t, p, ns, "orders", numbers(10, 12)...)
	again := consume(t, p, ns, manual("orders", "g", time.Minute, -1))
	if got, want := again.payloads(t, 9), numbers(3, 12); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestRetriesAndDeadLetters shows the limit of retries, and what becomes of the
// event.
func TestRetriesAndDeadLetters(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "g"} {
		t.Run("group "+name, func(t *testing.T) {
			t.Parallel()
			o := options()
			o.Scan = time.Hour // nothing is found by chance
			p, ns := start(t, redistest.New(t), o), redistest.Namespace(t)
			s := consume(t, p, ns, manual("orders", name, 20*time.Millisecond, 2))
			dead := consume(t, p, ns, auto("orders.dead", ""))
			id := publish(t, p, ns, "orders", "poison")[0]
			for i := range 3 {
				e := s.next(t)
				if e.GetId() != id || e.GetAttempt() != int64(i+1) {
					t.Fatalf("attempt %d is %v", i+1, e)
				}
				s.answer(t, id, false)
			}
			e := dead.next(t)
			for k, want := range map[string]string{deadID: id, deadAttempts: "3", deadGroup: name, "n": "poison"} {
				if got := e.GetMetadata()[k]; got != want {
					t.Errorf("metadata %s = %q, want %q", k, got, want)
				}
			}
			if string(e.GetPayload()) != "poison" || !strings.Contains(e.GetMetadata()[deadReason], "3 times") {
				t.Errorf("dead letter %v", e)
			}
			s.none(t, 100*time.Millisecond)
			if name != "" {
				settles(t, p, ns, "orders", name, 0, 0)
			}
		})
	}
}

// TestForever shows that a limit of -1 is none, and that 0 means no retry.
func TestForever(t *testing.T) {
	t.Parallel()
	p, ns := setup(t)
	s := consume(t, p, ns, manual("orders", "", 5*time.Millisecond, -1))
	once := consume(t, p, ns, manual("orders", "", 5*time.Millisecond, 0))
	publish(t, p, ns, "orders", "x")
	for range 20 {
		s.next(t)
	}
	once.next(t)
	once.none(t, 100*time.Millisecond)
}

// TestProcessDies shows that another process gets what one that died had.
func TestProcessDies(t *testing.T) {
	t.Parallel()
	client := redistest.New(t)
	ns := redistest.Namespace(t)
	o := options()
	o.Scan = 50 * time.Millisecond
	p, q := start(t, redistest.New(t), o), start(t, client, o)
	s := consume(t, p, ns, manual("orders", "g", time.Minute, -1))
	publish(t, q, ns, "orders", numbers(0, 10)...)
	s.payloads(t, 10)
	other := consume(t, q, ns, manual("orders", "g", time.Minute, -1))
	other.none(t, 200*time.Millisecond) // the first is alive
	if err := p.db.client.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := other.payloads(t, 10), numbers(0, 10); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestOffset(t *testing.T) {
	t.Parallel()
	p, ns := setup(t)
	began := time.Now().Unix()
	ids := publish(t, p, ns, "orders", numbers(0, 5)...)
	for _, tt := range []struct {
		name   string
		change func(*eventspb.ConsumeRequest)
		want   []string
		code   codes.Code
	}{
		{"since", func(r *eventspb.ConsumeRequest) { r.Offset = began }, numbers(0, 5), codes.OK},
		{"long ago", func(r *eventspb.ConsumeRequest) { r.Offset = 1 }, numbers(0, 5), codes.OK},
		{"zero time", func(r *eventspb.ConsumeRequest) { r.Offset = time.Time{}.Unix() }, nil, codes.OK},
		{"after", func(r *eventspb.ConsumeRequest) { r.After = ids[2] }, numbers(3, 5), codes.OK},
		{"future", func(r *eventspb.ConsumeRequest) { r.Offset = began + 3600 }, nil, codes.InvalidArgument},
		{"far future", func(r *eventspb.ConsumeRequest) { r.Offset = 1<<63 - 1 }, nil, codes.InvalidArgument},
		{"id to come", func(r *eventspb.ConsumeRequest) { r.After = strings.Replace(ids[0], "1", "9", 1) }, nil, codes.OutOfRange},
		{"id of another topic", func(r *eventspb.ConsumeRequest) { r.After = ids[0][:len(ids[0])-8] + "00000000" }, nil, codes.InvalidArgument},
		{"no id", func(r *eventspb.ConsumeRequest) { r.After = "x" }, nil, codes.InvalidArgument},
	} {
		for _, group := range []string{"", tt.name} {
			t.Run(tt.name+" "+group, func(t *testing.T) {
				t.Parallel()
				req := auto("orders", group)
				tt.change(req)
				s := consume(t, p, ns, req)
				if tt.code != codes.OK {
					if err := <-s.ended; errors.Code(err) != tt.code {
						t.Errorf("%v, want %s", err, tt.code)
					}
					s.ended <- nil
					return
				}
				if got := s.payloads(t, len(tt.want)); !slices.Equal(got, tt.want) {
					t.Errorf("got %v, want %v", got, tt.want)
				}
				s.none(t, 30*time.Millisecond)
			})
		}
	}
}
