package events

import (
	"slices"
	"testing"
	"time"

	"github.com/micro/platform/internal/redistest"
	eventspb "github.com/micro/platform/proto/events"
)

// TestCluster shows publishing, sharing, dead letters, replay and deletion on a
// Redis Cluster, with topics on all of its nodes.
func TestCluster(t *testing.T) {
	client := redistest.Cluster(t)
	ns := redistest.Namespace(t)
	p, q := start(t, client, options()), start(t, client, options())
	for _, topic := range []string{"a", "b", "c", "d", "e", "f"} {
		s := consume(t, p, ns, manual(topic, "g", 50*time.Millisecond, 0))
		all := consume(t, q, ns, auto(topic, ""))
		dead := consume(t, q, ns, auto(topic+".dead", ""))
		publish(t, p, ns, topic, numbers(0, 20)...)
		if got := all.payloads(t, 20); !slices.Equal(got, numbers(0, 20)) {
			t.Errorf("topic %s: %v", topic, got)
		}
		for i := range 20 {
			e := s.next(t)
			s.answer(t, e.GetId(), i > 0)
		}
		if got := dead.payloads(t, 1); got[0] != "0" {
			t.Errorf("topic %s: dead letter %v", topic, got)
		}
		settles(t, q, ns, topic, "g", 0, 0)
		rsp, err := groupsAPI{s: q.Service}.Seek(as(t.Context(), ns), &eventspb.SeekRequest{Topic: topic, Group: "g", Start: true})
		if err != nil {
			t.Fatal(err)
		}
		if s.payloads(t, 1)[0] != "0" {
			t.Errorf("topic %s: lag %d after a replay", topic, rsp.GetLag())
		}
	}
	if err := p.sweep(t.Context()); err != nil {
		t.Error(err)
	}
	topics, err := topicsAPI{s: p.Service}.List(as(t.Context(), ns), &eventspb.ListTopicsRequest{})
	if err != nil || len(topics.GetTopics()) != 12 {
		t.Errorf("%d topics, %v", len(topics.GetTopics()), err)
	}
	if _, err := (topicsAPI{s: p.Service}).Delete(as(t.Context(), ns), &eventspb.DeleteTopicRequest{Topic: "a"}); err != nil {
		t.Error(err)
	}
}
