package events

import (
	"io"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/redistest"
	eventspb "github.com/micro/platform/proto/events"
)

// TestRetention shows that old events go, and what becomes of ids before them.
func TestRetention(t *testing.T) {
	t.Parallel()
	p, ns := setup(t)
	ids := publish(t, p, ns, "orders", numbers(0, 1000)...)
	at, err := newTopic(ns, "orders")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.db.trim(t.Context(), at.key(), time.Now().Add(-time.Hour), 1<<30); err != nil {
		t.Fatal(err)
	}
	if got := read(t, p, ns, &eventspb.ReadRequest{Topic: "orders", Limit: 1000}); len(got) != 1000 {
		t.Fatalf("%d events are left, none is old", len(got))
	}
	if err := p.db.trim(t.Context(), at.key(), time.Now().Add(-time.Hour), 15_000); err != nil {
		t.Fatal(err)
	}
	left := read(t, p, ns, &eventspb.ReadRequest{Topic: "orders", Limit: 1000})
	if len(left) == 0 || len(left) >= 1000 || left[len(left)-1] != "999" {
		t.Fatalf("%d events are left of too many bytes", len(left))
	}
	_, err = p.Read(as(t.Context(), ns), &eventspb.ReadRequest{Topic: "orders", After: ids[0]})
	wantCode(t, err, codes.OutOfRange, "expired")
	s := consume(t, p, ns, &eventspb.ConsumeRequest{Topic: "orders", AutoAck: true, After: ids[0]})
	if err := <-s.ended; errors.Code(err) != codes.OutOfRange {
		t.Errorf("consume after what expired: %v", err)
	}
	s.ended <- nil
	oldest := ids[1000-len(left)]
	if got := read(t, p, ns, &eventspb.ReadRequest{Topic: "orders", Limit: 1000, After: oldest}); !slices.Equal(got, left[1:]) {
		t.Errorf("after the oldest that is left are %d events, want %d", len(got), len(left)-1)
	}
	if err := p.db.trim(t.Context(), at.key(), time.Now().Add(time.Hour), 1<<30); err != nil {
		t.Fatal(err)
	}
	if got := read(t, p, ns, &eventspb.ReadRequest{Topic: "orders"}); len(got) > 0 {
		t.Errorf("%d events are left, all are old", len(got))
	}
}

// TestLagAfterRetention shows that what has gone is not before a group any more.
func TestLagAfterRetention(t *testing.T) {
	t.Parallel()
	p, ns := setup(t)
	at, err := newTopic(ns, "orders")
	if err != nil {
		t.Fatal(err)
	}
	ids := publish(t, p, ns, "orders", numbers(0, 50)...)
	for group, after := range map[string]position{"start": {}, "middle": at.mustID(t, ids[9]), "later": at.mustID(t, ids[29])} {
		if err := p.db.createGroup(t.Context(), at, group, after); err != nil {
			t.Fatal(err)
		}
	}
	want := func(lags map[string]int64) {
		t.Helper()
		for group, lag := range lags {
			if got := groupOf(t, p, ns, "orders", group).GetLag(); got != lag {
				t.Errorf("lag of %s is %d, want %d", group, got, lag)
			}
		}
	}
	want(map[string]int64{"start": 50, "middle": 40, "later": 20})
	if err := p.db.client.XTrimMaxLen(t.Context(), at.key(), 25).Err(); err != nil {
		t.Fatal(err)
	}
	want(map[string]int64{"start": 25, "middle": 25, "later": 20})
	if err := p.db.createGroup(t.Context(), at, "again", at.mustID(t, ids[39])); err != nil {
		t.Fatal(err)
	}
	want(map[string]int64{"again": 10})
}

func (t topic) mustID(tt *testing.T, id string) position {
	tt.Helper()
	at, err := t.redisID(id)
	if err != nil {
		tt.Fatal(err)
	}
	return at
}

func read(t *testing.T, p process, ns string, req *eventspb.ReadRequest) []string {
	t.Helper()
	rsp, err := p.Read(as(t.Context(), ns), req)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range rsp.GetEvents() {
		out = append(out, string(e.GetPayload()))
	}
	return out
}

func TestReadPages(t *testing.T) {
	t.Parallel()
	p, ns := setup(t)
	ids := publish(t, p, ns, "orders", numbers(0, 300)...)
	for _, tt := range []struct {
		req  *eventspb.ReadRequest
		want []string
	}{
		{&eventspb.ReadRequest{}, numbers(0, 250)},
		{&eventspb.ReadRequest{Limit: 10, Offset: 295}, numbers(295, 300)},
		{&eventspb.ReadRequest{Limit: 2, Offset: 7}, numbers(7, 9)},
		{&eventspb.ReadRequest{Limit: 3, After: ids[99]}, numbers(100, 103)},
		{&eventspb.ReadRequest{Limit: 1000}, numbers(0, 300)},
	} {
		tt.req.Topic = "orders"
		if got := read(t, p, ns, tt.req); !slices.Equal(got, tt.want) {
			t.Errorf("%v: %d events from %v", tt.req, len(got), got[:min(3, len(got))])
		}
	}
}

// TestSeek replays while a consumer is there.
func TestSeek(t *testing.T) {
	t.Parallel()
	p, ns := setup(t)
	s := consume(t, p, ns, auto("orders", "g"))
	ids := publish(t, p, ns, "orders", numbers(0, 10)...)
	s.payloads(t, 10)
	settles(t, p, ns, "orders", "g", 0, 0)
	seek := func(change func(*eventspb.SeekRequest)) int64 {
		req := &eventspb.SeekRequest{Topic: "orders", Group: "g"}
		change(req)
		rsp, err := groupsAPI{s: p.Service}.Seek(as(t.Context(), ns), req)
		if err != nil {
			t.Fatal(err)
		}
		return rsp.GetLag()
	}
	seek(func(r *eventspb.SeekRequest) { r.After = ids[4] })
	if got := s.payloads(t, 5); !slices.Equal(got, numbers(5, 10)) {
		t.Errorf("after an event come %v", got)
	}
	seek(func(r *eventspb.SeekRequest) { r.Start = true })
	if got := s.payloads(t, 10); !slices.Equal(got, numbers(0, 10)) {
		t.Errorf("from the start come %v", got)
	}
	s.close()
	if lag := seek(func(r *eventspb.SeekRequest) { r.After = ids[6] }); lag != 3 {
		t.Errorf("lag %d, want 3", lag)
	}
	if lag := seek(func(r *eventspb.SeekRequest) { r.End = true }); lag != 0 {
		t.Errorf("lag %d at the end", lag)
	}
}

// TestAnswers shows what answers mean that are not plain.
func TestAnswers(t *testing.T) {
	t.Parallel()
	p, ns := setup(t)
	one, two := consume(t, p, ns, manual("orders", "g", time.Minute, -1)), consume(t, p, ns, manual("orders", "h", time.Minute, -1))
	foreign := publish(t, p, ns, "other", "x")[0]
	publish(t, p, ns, "orders", "x")
	e := one.next(t)
	two.next(t)
	two.answer(t, foreign, true)
	two.answer(t, "no id", true)
	one.answer(t, e.GetId(), true)
	one.answer(t, e.GetId(), true) // twice
	settles(t, p, ns, "orders", "g", 0, 0)
	settles(t, p, ns, "orders", "h", 0, 1)

	one.in <- &eventspb.ConsumeRequest{Ack: &eventspb.AckRequest{Id: publish(t, p, ns, "orders", "y")[0], Success: true}}
	one.next(t)
}

// TestHalfClose ends a consumer that would have to answer, and no other.
func TestHalfClose(t *testing.T) {
	t.Parallel()
	p, ns := setup(t)
	s := consume(t, p, ns, manual("orders", "g", time.Minute, -1))
	close(s.in)
	if err := <-s.ended; err != nil && err != io.EOF {
		t.Errorf("ended with %v", err)
	}
	s.ended <- nil
	a := consume(t, p, ns, auto("orders", "g"))
	close(a.in)
	publish(t, p, ns, "orders", "x")
	a.next(t)
}

func TestDeleteTopicAndGroup(t *testing.T) {
	t.Parallel()
	p, ns := setup(t)
	s := consume(t, p, ns, auto("orders", "g"))
	publish(t, p, ns, "orders", "x")
	s.next(t)
	if _, err := (groupsAPI{s: p.Service}).Delete(as(t.Context(), ns), &eventspb.DeleteGroupRequest{Topic: "orders", Group: "g"}); err != nil {
		t.Fatal(err)
	}
	err := <-s.ended
	s.ended <- err
	wantCode(t, err, codes.NotFound, "g")
	_, err = groupsAPI{s: p.Service}.Delete(as(t.Context(), ns), &eventspb.DeleteGroupRequest{Topic: "orders", Group: "g"})
	wantCode(t, err, codes.NotFound, "g")
	again := consume(t, p, ns, auto("orders", "g")) // it is made anew
	publish(t, p, ns, "orders", "y")
	if e := again.next(t); string(e.GetPayload()) != "y" {
		t.Errorf("got %v", e)
	}
	if _, err := (topicsAPI{s: p.Service}).Delete(as(t.Context(), ns), &eventspb.DeleteTopicRequest{Topic: "orders"}); err != nil {
		t.Fatal(err)
	}
	_, err = topicsAPI{s: p.Service}.Delete(as(t.Context(), ns), &eventspb.DeleteTopicRequest{Topic: "orders"})
	wantCode(t, err, codes.NotFound, "orders")
	publish(t, p, ns, "orders", "z")
	if got := read(t, p, ns, &eventspb.ReadRequest{Topic: "orders"}); !slices.Equal(got, []string{"z"}) {
		t.Errorf("a topic made anew has %v", got)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	o := options()
	o.MaxTopics, o.MaxGroups, o.MaxConsumers = 2, 1, 2
	p, ns := start(t, redistest.New(t), o), redistest.Namespace(t)
	consume(t, p, ns, auto("a", "g"))
	denied := func(req *eventspb.ConsumeRequest, says string) {
		t.Helper()
		s := consume(t, p, ns, req)
		err := <-s.ended
		s.ended <- err
		wantCode(t, err, codes.ResourceExhausted, says)
	}
	denied(auto("a", "h"), "1 groups")
	consume(t, p, ns, auto("a", "g"))
	denied(auto("a", "g"), "2 consumers")
	publish(t, p, ns, "b", "x")
	_, err := p.Publish(as(t.Context(), ns), &eventspb.PublishRequest{Topic: "c"})
	wantCode(t, err, codes.ResourceExhausted, "2 topics")
}

// TestPlan shows the limits of a plan, and that a rate is of all processes
// together.
func TestPlan(t *testing.T) {
	t.Parallel()
	l := plans.Limits{Topics: 2, EventRate: 1, EventRetention: 3600, EventBytes: plans.Unlimited}
	o := options()
	o.MaxAge = 24 * time.Hour
	p, q := startPlan(t, redistest.New(t), l, o), startPlan(t, redistest.New(t), l, o)
	ns, other := redistest.Namespace(t), redistest.Namespace(t)
	publish(t, p, ns, "a", "x")
	publish(t, q, ns, "b", "x")
	_, err := p.Publish(as(t.Context(), ns), &eventspb.PublishRequest{Topic: "c"})
	wantCode(t, err, codes.ResourceExhausted, "limit \"topics\"")

	batch := func(n int) *eventspb.PublishBatchRequest {
		return &eventspb.PublishBatchRequest{Topic: "a", Events: slices.Repeat([]*eventspb.Event{{Payload: []byte("x")}}, n)}
	}
	_, err = p.PublishBatch(as(t.Context(), ns), batch(burst+1))
	wantCode(t, err, codes.ResourceExhausted, "limit \"event_rate\"")
	if _, err = p.PublishBatch(as(t.Context(), ns), batch(burst-10)); err != nil {
		t.Error(err)
	}
	_, err = q.PublishBatch(as(t.Context(), ns), batch(burst/2))
	wantCode(t, err, codes.ResourceExhausted, "limit \"event_rate\"")
	publish(t, q, other, "a", "x")

	p.now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	if err := p.sweepNamespace(t.Context(), ns); err != nil {
		t.Error(err)
	}
	if got := read(t, q, ns, &eventspb.ReadRequest{Topic: "a"}); len(got) > 0 {
		t.Errorf("%d events are left, all are older than the plan's", len(got))
	}
}
