package events

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/redistest"
	eventspb "github.com/micro/platform/proto/events"
)

// TestErase removes a namespace in steps, with its consumers, and no other.
func TestErase(t *testing.T) {
	t.Parallel()
	o := options()
	o.MaxTopics = 0
	p, ns, other := start(t, redistest.New(t), o), redistest.Namespace(t), redistest.Namespace(t)
	publish(t, p, other, "orders", "kept")
	const topics = erasePage + 7
	for i := range topics {
		publish(t, p, ns, fmt.Sprintf("topic-%d", i), "x")
	}
	publish(t, p, ns, "topic-0.dead", "x")
	s := consume(t, p, ns, auto("topic-0", "g"))
	api := components{Service: p.Service}
	component := identity.With(t.Context(), identity.Caller{ID: "namespaces", Type: identity.Component, Namespace: identity.Platform})
	for who, ctx := range map[string]context.Context{"a service": as(t.Context(), ns), "an operator": as(t.Context(), identity.Platform)} {
		if _, err := api.Erase(ctx, &eventspb.EraseRequest{Namespace: ns}); errors.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: %v", who, err)
		}
	}
	_, err := api.Erase(component, &eventspb.EraseRequest{Namespace: "a/b"})
	wantCode(t, err, codes.InvalidArgument, "namespace")
	var removed int64
	for i, done := 0, false; !done; i++ {
		rsp, err := api.Erase(component, &eventspb.EraseRequest{Namespace: ns})
		if err != nil || i > 3 {
			t.Fatalf("step %d: %v", i, err)
		}
		done, removed = rsp.GetDone(), removed+rsp.GetTopics()
	}
	if removed < topics {
		t.Errorf("%d topics removed of %d", removed, topics)
	}
	err = <-s.ended
	s.ended <- err
	wantCode(t, err, codes.NotFound, "g")
	var left []string
	keys := p.db.client.Scan(t.Context(), 0, "events:{"+ns+"*", 1000).Iterator()
	for keys.Next(t.Context()) {
		left = append(left, keys.Val())
	}
	if listed := p.db.client.SIsMember(t.Context(), namespaces, ns).Val(); len(left) > 0 || listed {
		t.Errorf("left: %v, listed: %v", left, listed)
	}
	if got := read(t, p, other, &eventspb.ReadRequest{Topic: "orders"}); len(got) != 1 {
		t.Errorf("the other namespace has %v", got)
	}
	rsp, err := api.Erase(component, &eventspb.EraseRequest{Namespace: ns})
	if err != nil || !rsp.GetDone() {
		t.Errorf("once more: %v, %v", rsp, err)
	}
}

// TestSizes shows how much memory topics of namespaces take, page by page.
func TestSizes(t *testing.T) {
	t.Parallel()
	p := start(t, redistest.New(t), options())
	api := components{Service: p.Service}
	component := identity.With(t.Context(), identity.Caller{ID: "usage", Type: identity.Component, Namespace: identity.Platform})
	many, few := redistest.Namespace(t), redistest.Namespace(t)
	publish(t, p, few, "orders", "x")
	for _, topic := range []string{"orders", "payments"} {
		publish(t, p, many, topic, string(make([]byte, 10_000)))
	}
	sizes := map[string]int64{}
	for after := ""; ; {
		rsp, err := api.Sizes(component, &eventspb.SizesRequest{After: after})
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range rsp.GetNamespaces() {
			sizes[x.GetNamespace()], after = x.GetBytes(), x.GetNamespace()
		}
		if len(rsp.GetNamespaces()) == 0 {
			break
		}
	}
	if sizes[many] < 20_000 || sizes[few] < 1 || sizes[few] > 10_000 {
		t.Errorf("%d bytes of two topics with 10000 each, %d of a small one", sizes[many], sizes[few])
	}
	_, err := api.Sizes(as(t.Context(), many), &eventspb.SizesRequest{})
	wantCode(t, err, codes.PermissionDenied, "")
}
