package events

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	eventspb "github.com/micro/platform/proto/events"
)

// past makes n events of the last seconds, two in each millisecond.
func past(n int) []*eventspb.Event {
	from := time.Now().Add(-time.Minute).UnixMilli()
	out := make([]*eventspb.Event, n)
	for i := range out {
		out[i] = &eventspb.Event{
			Id: fmt.Sprintf("%d-%d", from+int64(i/2), i%2), Timestamp: 1_700_000_000 + int64(i),
			Metadata: map[string]string{"n": fmt.Sprint(i)}, Payload: []byte{0, 0xff, byte(i)},
		}
	}
	return out
}

func TestRestore(t *testing.T) {
	t.Parallel()
	p, ns := setup(t)
	ctx := as(t.Context(), ns)
	events := past(10)
	req := &eventspb.RestoreRequest{Topic: "orders", Events: events, Groups: []*eventspb.Group{{Name: "billing", Last: events[6].GetId()}}}
	for i, want := range []int64{10, 0} { // again is no error, and changes nothing
		rsp, err := p.Restore(ctx, req)
		if err != nil || rsp.GetRestored() != want {
			t.Fatalf("Restore %d = %v, %v, want %d", i, rsp, err, want)
		}
	}
	got, err := p.Read(ctx, &eventspb.ReadRequest{Topic: "orders"})
	if err != nil || len(got.GetEvents()) != len(events) {
		t.Fatalf("Read = %v, %v", got, err)
	}
	for i, e := range got.GetEvents() {
		id, _, _ := cutLast(e.GetId(), "-") // without the mark of the topic
		if id != events[i].GetId() || string(e.GetPayload()) != string(events[i].GetPayload()) || e.GetTimestamp() != events[i].GetTimestamp() || e.GetMetadata()["n"] != fmt.Sprint(i) {
			t.Errorf("event %d is %v, want %v", i, e, events[i])
		}
	}
	s := consume(t, p, ns, &eventspb.ConsumeRequest{Topic: "orders", Group: "billing", AutoAck: true})
	for i := 7; i < 10; i++ {
		select {
		case e := <-s.out:
			if e.GetMetadata()["n"] != fmt.Sprint(i) {
				t.Errorf("the group goes on with %v, want %d", e, i)
			}
		case <-time.After(patience):
			t.Fatal("the group got nothing")
		}
	}
	// What is published now comes after the past, and more of the past does not.
	if _, err := p.Publish(ctx, &eventspb.PublishRequest{Topic: "orders"}); err != nil {
		t.Fatal(err)
	}
	if rsp, err := p.Restore(ctx, &eventspb.RestoreRequest{Topic: "orders", Events: past(3)}); err != nil || rsp.GetRestored() != 0 {
		t.Errorf("Restore of what is older = %v, %v", rsp, err)
	}
}

func TestRestoreChecks(t *testing.T) {
	t.Parallel()
	p, ns := setup(t)
	ctx := as(t.Context(), ns)
	ahead := fmt.Sprintf("%d-0", time.Now().Add(time.Hour).UnixMilli())
	twice := past(1)
	for _, tt := range []struct {
		name string
		req  *eventspb.RestoreRequest
		want codes.Code
	}{
		{"no topic", &eventspb.RestoreRequest{Events: past(1)}, codes.InvalidArgument},
		{"another namespace", &eventspb.RestoreRequest{Topic: "x", Namespace: "other", Events: past(1)}, codes.PermissionDenied},
		{"no id", &eventspb.RestoreRequest{Topic: "x", Events: []*eventspb.Event{{}}}, codes.InvalidArgument},
		{"first id of all", &eventspb.RestoreRequest{Topic: "x", Events: []*eventspb.Event{{Id: "0-0"}}}, codes.InvalidArgument},
		{"of the future", &eventspb.RestoreRequest{Topic: "x", Events: []*eventspb.Event{{Id: ahead}}}, codes.InvalidArgument},
		{"a group of the future", &eventspb.RestoreRequest{Topic: "x", Groups: []*eventspb.Group{{Name: "g", Last: ahead}}}, codes.InvalidArgument},
		{"out of order", &eventspb.RestoreRequest{Topic: "x", Events: append(twice, twice...)}, codes.InvalidArgument},
		{"a group without a name", &eventspb.RestoreRequest{Topic: "x", Groups: []*eventspb.Group{{}}}, codes.InvalidArgument},
		{"too many", &eventspb.RestoreRequest{Topic: "x", Events: past(maxBatch + 1)}, codes.InvalidArgument},
		{"with the mark of another topic", &eventspb.RestoreRequest{Topic: "x", Events: []*eventspb.Event{{Id: "1700000000000-0-5f3a9c21"}}}, codes.OK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := p.Restore(ctx, tt.req); errors.Code(err) != tt.want {
				t.Errorf("Restore = %v, want %v", err, tt.want)
			}
		})
	}
}

// TestFirstPending shows what an export needs to know of a group.
func TestFirstPending(t *testing.T) {
	t.Parallel()
	p, ns := setup(t)
	ctx := as(t.Context(), ns)
	events := past(3)
	if _, err := p.Restore(ctx, &eventspb.RestoreRequest{Topic: "orders", Events: events, Groups: []*eventspb.Group{{Name: "billing"}}}); err != nil {
		t.Fatal(err)
	}
	s := consume(t, p, ns, &eventspb.ConsumeRequest{Topic: "orders", Group: "billing", AckWait: int64(time.Minute), RetryLimit: -1})
	for range events {
		select {
		case <-s.out:
		case <-time.After(patience):
			t.Fatal("the group got nothing")
		}
	}
	rsp, err := groupsAPI{s: p.Service}.List(ctx, &eventspb.ListGroupsRequest{Topic: "orders"})
	if err != nil || len(rsp.GetGroups()) != 1 {
		t.Fatalf("List = %v, %v", rsp, err)
	}
	if got, _, _ := cutLast(rsp.GetGroups()[0].GetFirstPending(), "-"); got != events[0].GetId() {
		t.Errorf("the oldest event that is not acknowledged is %q, want %q", got, events[0].GetId())
	}
}
