package usage

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/testing/protocmp"

	builderpb "github.com/micro/platform/proto/builder"
	eventspb "github.com/micro/platform/proto/events"
	schedulerpb "github.com/micro/platform/proto/scheduler"
	storepb "github.com/micro/platform/proto/store"
	usagepb "github.com/micro/platform/proto/usage"
)

// host is a scheduler that answers what a test says, and the other components
// whose meters are read.
type host struct {
	schedulerpb.SchedulerClient
	builds

	containers []*schedulerpb.Container
	sent       []*schedulerpb.Egress
	records    records
	topics     topics
}

type records struct {
	storepb.ComponentsClient

	sizes []*storepb.Size
}

func (r *records) Sizes(_ context.Context, req *storepb.SizesRequest, _ ...grpc.CallOption) (*storepb.SizesResponse, error) {
	if req.GetAfter() != "" {
		return &storepb.SizesResponse{}, nil
	}
	return &storepb.SizesResponse{Namespaces: r.sizes}, nil
}

type topics struct {
	eventspb.ComponentsClient

	sizes []*eventspb.Size
}

func (r *topics) Sizes(_ context.Context, req *eventspb.SizesRequest, _ ...grpc.CallOption) (*eventspb.SizesResponse, error) {
	if req.GetAfter() != "" {
		return &eventspb.SizesResponse{}, nil
	}
	return &eventspb.SizesResponse{Namespaces: r.sizes}, nil
}

type builds struct {
	builderpb.BuilderClient

	attempts  []*builderpb.Attempt
	forgotten int
}

func (h *host) Containers(context.Context, *schedulerpb.ContainersRequest, ...grpc.CallOption) (*schedulerpb.ContainersResponse, error) {
	return &schedulerpb.ContainersResponse{Containers: h.containers}, nil
}

func (h *builds) Attempts(_ context.Context, req *builderpb.AttemptsRequest, _ ...grpc.CallOption) (*builderpb.AttemptsResponse, error) {
	if n := len(req.GetCounted()); n > 0 {
		h.forgotten += n
		return &builderpb.AttemptsResponse{}, nil
	}
	return &builderpb.AttemptsResponse{Attempts: h.attempts}, nil
}

func (h *host) Egress(context.Context, *schedulerpb.EgressRequest, ...grpc.CallOption) (*schedulerpb.EgressResponse, error) {
	return &schedulerpb.EgressResponse{Namespaces: h.sent}, nil
}

// sampled reads all meters twice: the second time adds nothing.
func sampled(t *testing.T, s *Service, now time.Time) {
	t.Helper()
	s.now = func() time.Time { return now }
	for range 2 {
		for _, x := range s.samplers() {
			if err := x.sample(t.Context()); err != nil {
				t.Fatalf("%s: %v", x.kind, err)
			}
		}
	}
}

func daysOf(t *testing.T, s *Service, want ...*usagepb.Row) {
	t.Helper()
	rsp, err := s.Read(as(t, "acme"), &usagepb.ReadRequest{From: "2026-11-01", To: "2026-11-30", By: []string{"day", "service"}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, rsp.GetRows(), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func meters(t *testing.T) (*Service, *host) {
	t.Helper()
	s := setup(t)
	h := &host{}
	s.parts = parts{scheduler: h, builder: &h.builds, store: &h.records, events: &h.topics}
	return s, h
}

// TestContainers shows that a container counts from its start to its end, each
// second once, in the day in which it was.
func TestContainers(t *testing.T) {
	t.Parallel()
	s, h := meters(t)
	midnight := dayOf(today)
	c := &schedulerpb.Container{Container: "c1", Namespace: "acme", Service: "greeter", Started: midnight.Add(-100 * time.Second).UnixMilli(), Millicores: 500, Memory: 256 << 20}
	h.containers = []*schedulerpb.Container{c}
	for _, after := range []time.Duration{10, 10, 30, 25, 40} { // the clock may go back
		sampled(t, s, midnight.Add(after*time.Second+300*time.Millisecond))
	}
	c.Ended = midnight.Add(60*time.Second + 900*time.Millisecond).UnixMilli()
	sampled(t, s, midnight.Add(time.Hour))
	daysOf(t, s,
		&usagepb.Row{Day: "2026-11-20", Service: "greeter", CpuMilliSeconds: 100 * 500, MemoryMibSeconds: 100 * 256},
		&usagepb.Row{Day: "2026-11-21", Service: "greeter", CpuMilliSeconds: 60 * 500, MemoryMibSeconds: 60 * 256})
}

// TestBuilds shows that attempts count while they are under way and when they
// have ended, rounded up, and that the builder forgets them then.
func TestBuilds(t *testing.T) {
	t.Parallel()
	s, h := meters(t)
	at := func(d time.Duration) int64 { return today.Add(d).UnixMicro() }
	id := &builderpb.ID{Namespace: "acme", Service: "greeter", Version: "latest", Revision: 3}
	a := &builderpb.Attempt{Id: id, Attempt: 1, Started: at(-90 * time.Second), Until: at(-60*time.Second - 1)}
	h.attempts = []*builderpb.Attempt{a}
	sampled(t, s, today)
	daysOf(t, s, &usagepb.Row{Day: "2026-11-21", Service: "greeter", BuildSeconds: 29})
	a.Until, a.Ended = at(-59*time.Second-500*time.Millisecond), true
	h.attempts = append(h.attempts, &builderpb.Attempt{Id: id, Attempt: 2, Started: at(-5 * time.Second), Until: at(0)},
		&builderpb.Attempt{Id: id, Attempt: 1, Started: at(-3 * time.Second), Until: at(0), Ended: true}) // another build of that name
	sampled(t, s, today)
	daysOf(t, s, &usagepb.Row{Day: "2026-11-21", Service: "greeter", BuildSeconds: 31 + 5 + 3})
	if h.forgotten != 4 { // two of them, twice
		t.Errorf("%d attempts that are counted were told to the builder", h.forgotten)
	}
}

// TestEgress shows that bytes of a counter count once, and that one which begins
// anew is another one.
func TestEgress(t *testing.T) {
	t.Parallel()
	s, h := meters(t)
	for _, step := range []struct {
		counter string
		bytes   int64
	}{{"boot1", 1000}, {"boot1", 1500}, {"boot2", 200}, {"boot2", 50}} {
		h.sent = []*schedulerpb.Egress{{Namespace: "acme", Counter: step.counter, Bytes: step.bytes}}
		sampled(t, s, today)
	}
	daysOf(t, s, &usagepb.Row{Day: "2026-11-21", EgressBytes: 1750})
}

// TestTwoSamplers shows that processes which read the same meters at once count
// them once.
func TestTwoSamplers(t *testing.T) {
	t.Parallel()
	s, h := meters(t)
	for i := range 3 * atOnce / 2 {
		h.containers = append(h.containers, &schedulerpb.Container{Container: time.Duration(i).String(), Namespace: "acme", Service: "greeter",
			Started: today.Add(-time.Minute).UnixMilli(), Millicores: 1})
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := s.containers(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	daysOf(t, s, &usagepb.Row{Day: "2026-11-21", Service: "greeter", CpuMilliSeconds: 60 * 3 * atOnce / 2})
}

// TestStored shows that bytes count for as long as they are known to be kept, a
// gap with what was known before it, and that parts of an hour are not lost.
func TestStored(t *testing.T) {
	t.Parallel()
	s, h := meters(t)
	for _, step := range []struct {
		after                  time.Duration
		records, blobs, events int64
	}{{0, 1000, 0, 0}, {30 * time.Second, 1000, 7, 0}, {20 * time.Minute, 3000, 7, 500}, {3*time.Hour + 20*time.Minute, 0, 7, 0}, {4 * time.Hour, 0, 7, 0}} {
		h.records.sizes = []*storepb.Size{{Namespace: "acme", Records: step.records, Blobs: step.blobs}}
		h.topics.sizes = []*eventspb.Size{{Namespace: "acme", Bytes: step.events}}
		sampled(t, s, today.Add(step.after))
	}
	const records = 1000*1200 + 3000*3*3600
	const blobs = 7 * (4*3600 - 30)
	daysOf(t, s,
		&usagepb.Row{Day: "2026-11-21", Service: "events", StoredByteHours: 500 * 3},
		&usagepb.Row{Day: "2026-11-21", Service: "store", StoredByteHours: records/3600 + blobs/3600})
}
