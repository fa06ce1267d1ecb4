package events

import (
	"bytes"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/internal/quota"
	"github.com/micro/platform/internal/redistest"
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
