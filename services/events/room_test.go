package events

import (
	"bytes"
	"context"
	"maps"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/linetest"
	"github.com/micro/platform/internal/quota"
	"github.com/micro/platform/internal/redistest"
	"github.com/micro/platform/internal/stale"
	eventspb "github.com/micro/platform/proto/events"
)

func fill(t *testing.T, p process, ns, topic string, payload []byte) {
	t.Helper()
	if _, err := p.Publish(as(t.Context(), ns), &eventspb.PublishRequest{Topic: topic, Payload: payload}); err != nil {
		t.Fatal(err)
	}
}

// TestEventBytes shows that the topics of a namespace, dead letters included,
// take no more than its plan gives, at all processes together, and that what is
// deleted is room at once.
func TestEventBytes(t *testing.T) {
	t.Parallel()
	client := redistest.New(t)
	l := plans.Limits{Topics: plans.Unlimited, EventRate: plans.Unlimited, EventRetention: plans.Unlimited, EventBytes: 1 << 20}
	p, q := startPlan(t, client, l, options()), startPlan(t, client, l, options())
	ns, other := redistest.Namespace(t), redistest.Namespace(t)
	big := bytes.Repeat([]byte("x"), 300<<10)
	for _, topic := range []string{"a", "b", "c"} {
		fill(t, p, ns, topic, big)
	}
	refused := func(err error) {
		t.Helper()
		wantCode(t, err, codes.ResourceExhausted, `may take 1048576 bytes, which is the limit "event_bytes"`)
		if h := quota.Headers(err); h["RateLimit-Policy"] != `"event_bytes";q=1048576` || h["Retry-After"] == "" {
			t.Errorf("headers %v", h)
		}
	}
	for _, process := range []process{p, q} {
		_, err := process.Publish(as(t.Context(), ns), &eventspb.PublishRequest{Topic: "a", Payload: big})
		refused(err)
		_, err = process.Restore(as(t.Context(), ns), &eventspb.RestoreRequest{Topic: "d", Events: []*eventspb.Event{
			{Id: "1-0-" + topic{ns, "d", false}.mark(), Payload: big}}})
		refused(err)
	}
	fill(t, p, other, "a", big)

	// A dead letter takes room, too: without any the event stays where it is.
	s := consume(t, p, ns, manual("a", "g", time.Second, 0))
	publish(t, p, ns, "a", "small")
	s.close()
	src := shared{db: p.db, room: p.room, topic: topic{ns, "a", false}, group: "g", process: p.hub.process}
	refused(src.bury(t.Context(), position{1, 0}, big))

	if _, err := (topicsAPI{s: q.Service}).Delete(as(t.Context(), ns), &eventspb.DeleteTopicRequest{Topic: "b"}); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Publish(as(t.Context(), ns), &eventspb.PublishRequest{Topic: "a", Payload: big}); err != nil {
		t.Errorf("after a topic was deleted: %v", err)
	}
}

// TestTopicIsShortened shows that a topic does not outgrow the server's limit
// until the sweeper comes.
func TestTopicIsShortened(t *testing.T) {
	t.Parallel()
	o := options()
	o.MaxBytes = 1 << 20
	p, ns := start(t, redistest.New(t), o), redistest.Namespace(t)
	for range 40 {
		fill(t, p, ns, "a", bytes.Repeat([]byte("x"), 100<<10))
	}
	sizes, err := p.db.sizes(t.Context(), ns)
	if err != nil {
		t.Fatal(err)
	}
	for key, n := range sizes {
		if n > o.MaxBytes+o.MaxBytes/4 {
			t.Errorf("%s takes %d bytes, the server gives %d", key, n, o.MaxBytes)
		}
	}
}

// TestDeadTopicsAreCounted shows that a name of dead letters is no way round
// the limit of topics.
func TestDeadTopicsAreCounted(t *testing.T) {
	t.Parallel()
	o := options()
	o.MaxTopics = 2
	p, ns := start(t, redistest.New(t), o), redistest.Namespace(t)
	publish(t, p, ns, "a", "x")
	publish(t, p, ns, "b.dead", "x")
	_, err := p.Publish(as(t.Context(), ns), &eventspb.PublishRequest{Topic: "c.dead"})
	wantCode(t, err, codes.ResourceExhausted, "2 topics")
	publish(t, p, ns, "a.dead", "x") // of a topic that is counted
}

// half is more than half of what a namespace of these tests may have.
const half = 600 << 10

// measured is a process whose clock can be put forward, with a second room,
// which measures over a line of its own.
type measured struct {
	process

	ns    string
	apart *room
	line  linetest.Line
	ahead atomic.Int64
}

// startMeasured answers one whose namespace has one event of half its room, which
// apart knows. No measure ends by itself when the line falls silent.
func startMeasured(t *testing.T) *measured {
	t.Helper()
	o, err := redis.ParseURL(redistest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	m := &measured{ns: redistest.Namespace(t)}
	o.Dialer, o.MaxRetries, o.ReadTimeout = m.line.Dial, -1, time.Minute
	client := redis.NewClient(o)
	t.Cleanup(func() {
		m.line.Close()
		client.Close()
	})
	m.process = startPlan(t, redistest.New(t), plans.Limits{Topics: plans.Unlimited, EventRate: plans.Unlimited, EventRetention: plans.Unlimited, EventBytes: 1 << 20}, options())
	m.apart = newRoom(db{client}, m.limits, func() time.Time { return time.Now().Add(time.Duration(m.ahead.Load())) })
	fill(t, m.process, m.ns, "a", make([]byte, half))
	if err := m.take(t, 1, patience); err != nil {
		t.Fatal(err)
	}
	return m
}

// take takes room for an event of so many bytes, if it can within a time.
func (m *measured) take(t *testing.T, n int, within time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	return m.apart.take(ctx, topic{m.ns, "b", false}, bytes.Repeat([]byte("x"), n))
}

// deleteTopic makes room that apart does not hear of.
func (m *measured) deleteTopic(t *testing.T) {
	t.Helper()
	if _, err := (topicsAPI{s: m.Service}).Delete(as(t.Context(), m.ns), &eventspb.DeleteTopicRequest{Topic: "a"}); err != nil {
		t.Fatal(err)
	}
}

// TestRefusalIsMeasuredAgain shows that room which another process has made is
// found before the measure is due.
func TestRefusalIsMeasuredAgain(t *testing.T) {
	t.Parallel()
	m := startMeasured(t)
	wantCode(t, m.take(t, half, patience), codes.ResourceExhausted, "event_bytes")
	m.deleteTopic(t)
	m.ahead.Add(int64(recheck))
	if err := m.take(t, half, patience); err != nil {
		t.Errorf("after a topic was deleted: %v", err)
	}
}

// TestLateMeasure shows that publishing goes on while a measure hangs, that nobody
// is refused by an old measure, and that nobody goes on by one that is too old.
func TestLateMeasure(t *testing.T) {
	t.Parallel()
	m := startMeasured(t)
	m.line.Silence()
	m.ahead.Add(int64(2 * freshness))
	const events = 50
	began := time.Now()
	for range events {
		if err := m.take(t, 1, patience); err != nil {
			t.Fatalf("while the measure hangs: %v", err)
		}
	}
	if took := time.Since(began); took > events*stale.Patience/2 {
		t.Errorf("%d events took %v: each waited for the measure", events, took)
	}
	m.deleteTopic(t)
	const awhile = 3 * stale.Patience
	if err := m.take(t, half, awhile); errors.Code(err) != codes.Unavailable {
		t.Errorf("what an old measure has no room for = %v, want Unavailable", err)
	}
	m.ahead.Add(int64(stale.MaxAge))
	if err := m.take(t, 1, awhile); errors.Code(err) != codes.Unavailable {
		t.Errorf("by a measure that is too old = %v, want Unavailable", err)
	}
	m.line.Close() // the measure fails; the next does not
	for deadline := time.Now().Add(patience); ; {
		err := m.take(t, half, patience)
		if err == nil {
			break
		}
		if errors.Code(err) != codes.Unavailable || time.Now().After(deadline) {
			t.Fatalf("when Redis is back: %v", err)
		}
	}
}

// TestFailedMeasure shows that publishing goes on when a measure fails.
func TestFailedMeasure(t *testing.T) {
	t.Parallel()
	m := startMeasured(t)
	for range 2 {
		m.line.Close()
		m.ahead.Add(int64(2 * freshness))
		if err := m.take(t, 1, patience); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWrittenMeanwhile shows that what was written while a measure was taken
// counts beside it, and by the next no more.
func TestWrittenMeanwhile(t *testing.T) {
	t.Parallel()
	s := &space{}
	expect := func(want map[string]int64) {
		t.Helper()
		if !maps.Equal(s.topics, want) || s.bytes != want["a"]+want["b"] {
			t.Errorf("known are %v, together %d, want %v", s.topics, s.bytes, want)
		}
	}
	s.replace(map[string]int64{"a": 10}, s.soFar())
	s.add("a", 5, plans.Unlimited)
	before := s.soFar()
	s.add("a", 7, plans.Unlimited)
	s.add("b", 1, plans.Unlimited)
	expect(map[string]int64{"a": 22, "b": 1})
	s.replace(map[string]int64{"a": 20}, before)
	expect(map[string]int64{"a": 27, "b": 1})
	s.replace(map[string]int64{"a": 28, "b": 2}, s.soFar())
	expect(map[string]int64{"a": 28, "b": 2})
}
