package events

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	eventspb "github.com/micro/platform/proto/events"
)

// wantCode checks an error's code and that it names what was wrong.
func wantCode(t *testing.T, err error, code codes.Code, names string) {
	t.Helper()
	if errors.Code(err) != code || err != nil && !strings.Contains(err.Error(), names) {
		t.Errorf("%v, want %s with %q", err, code, names)
	}
}

func TestBadPublish(t *testing.T) {
	t.Parallel()
	p, ns := setup(t)
	many := map[string]string{}
	for _, k := range numbers(0, maxEntries+1) {
		many[k] = ""
	}
	for _, tt := range []struct {
		name string
		req  *eventspb.PublishRequest
		code codes.Code
		says string
	}{
		{"no topic", &eventspb.PublishRequest{}, codes.InvalidArgument, "Missing topic"},
		{"only the suffix", &eventspb.PublishRequest{Topic: ".dead"}, codes.InvalidArgument, "topic"},
		{"slash", &eventspb.PublishRequest{Topic: "../other/x"}, codes.OK, ""},
		{"address", &eventspb.PublishRequest{Topic: "event/acme/jane@example.com/new orders"}, codes.OK, ""},
		{"brace", &eventspb.PublishRequest{Topic: "a}:log"}, codes.OK, ""},
		{"glob", &eventspb.PublishRequest{Topic: "*"}, codes.OK, ""},
		{"NUL", &eventspb.PublishRequest{Topic: "a\x00b"}, codes.InvalidArgument, "topic"},
		{"invalid UTF-8", &eventspb.PublishRequest{Topic: "a\xff"}, codes.InvalidArgument, "topic"},
		{"longest", &eventspb.PublishRequest{Topic: strings.Repeat("a", 256)}, codes.OK, ""},
		{"too long", &eventspb.PublishRequest{Topic: strings.Repeat("a", 257)}, codes.InvalidArgument, "topic"},
		{"empty payload", &eventspb.PublishRequest{Topic: "t"}, codes.OK, ""},
		{"largest payload", &eventspb.PublishRequest{Topic: "t", Payload: make([]byte, maxPayload)}, codes.OK, ""},
		{"payload too large", &eventspb.PublishRequest{Topic: "t", Payload: make([]byte, maxPayload+1)}, codes.ResourceExhausted, "payload"},
		{"metadata too large", &eventspb.PublishRequest{Topic: "t", Metadata: map[string]string{"k": strings.Repeat("v", maxMetadata)}}, codes.InvalidArgument, "metadata"},
		{"too much metadata", &eventspb.PublishRequest{Topic: "t", Metadata: many}, codes.InvalidArgument, "metadata"},
		{"negative timestamp", &eventspb.PublishRequest{Topic: "t", Timestamp: -1}, codes.InvalidArgument, "timestamp"},
		{"huge timestamp", &eventspb.PublishRequest{Topic: "t", Timestamp: math.MaxInt64}, codes.InvalidArgument, "timestamp"},
		{"another namespace", &eventspb.PublishRequest{Topic: "t", Namespace: "other"}, codes.PermissionDenied, "other"},
		{"namespace micro", &eventspb.PublishRequest{Topic: "t", Namespace: "micro"}, codes.OK, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := p.Publish(as(t.Context(), ns), tt.req)
			wantCode(t, err, tt.code, tt.says)
		})
	}
	_, err := p.PublishBatch(as(t.Context(), ns), &eventspb.PublishBatchRequest{Topic: "t"})
	wantCode(t, err, codes.InvalidArgument, "batch")
}

func TestBadConsume(t *testing.T) {
	t.Parallel()
	p, ns := setup(t)
	for _, tt := range []struct {
		name string
		req  *eventspb.ConsumeRequest
		code codes.Code
		says string
	}{
		{"no topic", auto("", ""), codes.InvalidArgument, "Missing topic"},
		{"topic", auto("a\nb", ""), codes.InvalidArgument, "topic"},
		{"no ack wait", manual("t", "", 0, -1), codes.Internal, "invalid AckWait passed, should be positive integer"},
		{"negative ack wait", manual("t", "", -1, -1), codes.Internal, "invalid AckWait"},
		{"retry limit", manual("t", "", time.Second, -2), codes.InvalidArgument, "retry_limit"},
		{"group too long", auto("t", strings.Repeat("g", 129)), codes.InvalidArgument, "group"},
		{"group with NUL", auto("t", "g\x00"), codes.InvalidArgument, "group"},
		{"window", &eventspb.ConsumeRequest{Topic: "t", AutoAck: true, Window: -1}, codes.InvalidArgument, "window"},
		{"offset and after", &eventspb.ConsumeRequest{Topic: "t", AutoAck: true, Offset: 1, After: "x"}, codes.InvalidArgument, "after"},
		{"another namespace", &eventspb.ConsumeRequest{Topic: "t", AutoAck: true, Namespace: "other"}, codes.PermissionDenied, "other"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := consume(t, p, ns, tt.req)
			err := <-s.ended
			s.ended <- err
			wantCode(t, err, tt.code, tt.says)
		})
	}
}

func TestBadReadAndSeek(t *testing.T) {
	t.Parallel()
	p, ns := setup(t)
	id := publish(t, p, ns, "t", "1")[0]
	foreign := publish(t, p, ns, "u", "1")[0]
	consume(t, p, ns, auto("t", "g"))
	for _, tt := range []struct {
		name string
		req  *eventspb.ReadRequest
		code codes.Code
		says string
	}{
		{"no topic", &eventspb.ReadRequest{}, codes.InvalidArgument, "Missing topic"},
		{"unknown topic", &eventspb.ReadRequest{Topic: "unknown"}, codes.OK, ""},
		{"limit", &eventspb.ReadRequest{Topic: "t", Limit: 1001}, codes.InvalidArgument, "limit"},
		{"offset", &eventspb.ReadRequest{Topic: "t", Offset: math.MaxUint64}, codes.InvalidArgument, "offset"},
		{"offset beyond the end", &eventspb.ReadRequest{Topic: "t", Offset: 1000}, codes.OK, ""},
		{"since and after", &eventspb.ReadRequest{Topic: "t", Since: 1, After: id}, codes.InvalidArgument, "after"},
		{"negative since", &eventspb.ReadRequest{Topic: "t", Since: -1}, codes.InvalidArgument, "since"},
		{"future", &eventspb.ReadRequest{Topic: "t", Since: math.MaxInt64}, codes.InvalidArgument, "future"},
		{"id of another topic", &eventspb.ReadRequest{Topic: "t", After: foreign}, codes.InvalidArgument, "another topic"},
		{"another namespace", &eventspb.ReadRequest{Topic: "t", Namespace: "other"}, codes.PermissionDenied, "other"},
	} {
		_, err := p.Read(as(t.Context(), ns), tt.req)
		t.Run("read "+tt.name, func(t *testing.T) { wantCode(t, err, tt.code, tt.says) })
	}
	for _, tt := range []struct {
		name string
		req  *eventspb.SeekRequest
		code codes.Code
		says string
	}{
		{"no topic", &eventspb.SeekRequest{Group: "g", Start: true}, codes.InvalidArgument, "Missing topic"},
		{"unknown topic", &eventspb.SeekRequest{Topic: "x", Group: "g", Start: true}, codes.NotFound, "x"},
		{"no group", &eventspb.SeekRequest{Topic: "t", Start: true}, codes.InvalidArgument, "Missing group"},
		{"unknown group", &eventspb.SeekRequest{Topic: "t", Group: "x", Start: true}, codes.NotFound, "x"},
		{"no place", &eventspb.SeekRequest{Topic: "t", Group: "g"}, codes.InvalidArgument, "one of"},
		{"two places", &eventspb.SeekRequest{Topic: "t", Group: "g", Start: true, End: true}, codes.InvalidArgument, "one of"},
		{"future", &eventspb.SeekRequest{Topic: "t", Group: "g", Since: math.MaxInt64}, codes.InvalidArgument, "future"},
		{"id of another topic", &eventspb.SeekRequest{Topic: "t", Group: "g", After: foreign}, codes.InvalidArgument, "another topic"},
		{"another namespace", &eventspb.SeekRequest{Topic: "t", Group: "g", Start: true, Namespace: "other"}, codes.PermissionDenied, "other"},
	} {
		_, err := groupsAPI{s: p.Service}.Seek(as(t.Context(), ns), tt.req)
		t.Run("seek "+tt.name, func(t *testing.T) { wantCode(t, err, tt.code, tt.says) })
	}
	_, err := p.Write(as(t.Context(), ns), &eventspb.WriteRequest{})
	wantCode(t, err, codes.Unimplemented, "Writing to the store directly is not supported")
}

// TestWhoMay shows that every RPC wants an admin of the namespace.
func TestWhoMay(t *testing.T) {
	t.Parallel()
	p, ns := setup(t)
	publish(t, p, ns, "t", "1")
	member := identity.With(t.Context(), identity.Caller{ID: "m", Type: identity.User, Namespace: ns})
	for who, ctx := range map[string]context.Context{"nobody": t.Context(), "a member": member} {
		want := codes.PermissionDenied
		if who == "nobody" {
			want = codes.Unauthenticated
		}
		_, err1 := p.Publish(ctx, &eventspb.PublishRequest{Topic: "t"})
		_, err2 := p.PublishBatch(ctx, &eventspb.PublishBatchRequest{Topic: "t", Events: []*eventspb.Event{{}}})
		_, err3 := p.Read(ctx, &eventspb.ReadRequest{Topic: "t"})
		_, err4 := topicsAPI{s: p.Service}.List(ctx, &eventspb.ListTopicsRequest{})
		_, err5 := topicsAPI{s: p.Service}.Delete(ctx, &eventspb.DeleteTopicRequest{Topic: "t"})
		_, err6 := groupsAPI{s: p.Service}.List(ctx, &eventspb.ListGroupsRequest{Topic: "t"})
		_, err7 := groupsAPI{s: p.Service}.Seek(ctx, &eventspb.SeekRequest{Topic: "t", Group: "g", Start: true})
		_, err8 := groupsAPI{s: p.Service}.Delete(ctx, &eventspb.DeleteGroupRequest{Topic: "t", Group: "g"})
		for i, err := range []error{err1, err2, err3, err4, err5, err6, err7, err8} {
			if errors.Code(err) != want {
				t.Errorf("%s, RPC %d: %v, want %s", who, i+1, err, want)
			}
		}
	}
}

// TestNamespacesApart shows that the same names in two namespaces are two
// things.
func TestNamespacesApart(t *testing.T) {
	t.Parallel()
	p, mine := setup(t)
	_, theirs := setup(t)
	id := publish(t, p, mine, "orders", "secret")[0]
	for _, group := range []string{"", "g"} {
		s := consume(t, p, theirs, &eventspb.ConsumeRequest{Topic: "orders", Group: group, AutoAck: true, Offset: 1})
		s.none(t, 50*time.Millisecond)
	}
	rsp, err := p.Read(as(t.Context(), theirs), &eventspb.ReadRequest{Topic: "orders"})
	if err != nil || len(rsp.GetEvents()) > 0 {
		t.Errorf("%v, %v", rsp, err)
	}
	_, err = p.Read(as(t.Context(), theirs), &eventspb.ReadRequest{Topic: "orders", After: id})
	wantCode(t, err, codes.InvalidArgument, "another topic")
	topics, err := topicsAPI{s: p.Service}.List(as(t.Context(), theirs), &eventspb.ListTopicsRequest{})
	if err != nil || len(topics.GetTopics()) != 1 || topics.GetTopics()[0].GetEvents() != 0 {
		t.Errorf("%v, %v", topics, err)
	}
	if _, err := (topicsAPI{s: p.Service}).Delete(as(t.Context(), theirs), &eventspb.DeleteTopicRequest{Topic: "orders"}); err != nil {
		t.Fatal(err)
	}
	rsp, err = p.Read(as(t.Context(), mine), &eventspb.ReadRequest{Topic: "orders"})
	if err != nil || len(rsp.GetEvents()) != 1 {
		t.Errorf("%v, %v", rsp, err)
	}
}

// FuzzTopic shows that no name leaves its namespace and that no two names share
// a key.
func FuzzTopic(f *testing.F) {
	for _, s := range []string{"orders", "../x", "a}:log", "x.dead", ".dead", "{b}", "a:b", "a/b", "*", "a\x00"} {
		f.Add(s, "x")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		one, err := newTopic("acme", a)
		if err != nil {
			return
		}
		if one.name() != a {
			t.Fatalf("topic %q is called %q", a, one.name())
		}
		for _, key := range []string{one.key(), one.letters()} {
			rest, ok := strings.CutPrefix(key, "events:{acme/")
			if tag, end, _ := strings.Cut(rest, "}"); !ok || strings.ContainsAny(tag, "/{:") || end != ":log" && end != ":dead" {
				t.Fatalf("topic %q has the key %q", a, key)
			}
		}
		if two, err := newTopic("acme", b); err == nil && a != b && one.key() == two.key() {
			t.Fatalf("topics %q and %q share the key %q", a, b, one.key())
		}
	})
}

// FuzzEventID shows that what is no id of a topic is refused, and the others
// keep their place.
func FuzzEventID(f *testing.F) {
	t := topic{namespace: "acme", base: "orders"}
	for _, s := range []string{t.eventID("1-0"), "1-0", "", "-", "1-0-00000000", "18446744073709551616-0-" + t.mark(), "1--0-" + t.mark()} {
		f.Add(s)
	}
	f.Fuzz(func(tt *testing.T, id string) {
		if at, err := t.redisID(id); err == nil {
			again, err := t.redisID(t.eventID(at.String()))
			if err != nil || again != at {
				tt.Fatalf("%q is at %s, which is at %s, %v", id, at, again, err)
			}
		}
	})
}
