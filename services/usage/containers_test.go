package usage

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/micro/platform/billing/plans"
	schedulerpb "github.com/micro/platform/proto/scheduler"
	usagepb "github.com/micro/platform/proto/usage"
)

// running is a scheduler that has one container.
type running struct {
	schedulerpb.SchedulerClient
	started time.Time
}

// List implements schedulerpb.SchedulerClient.
func (r running) List(context.Context, *schedulerpb.ListRequest, ...grpc.CallOption) (*schedulerpb.ListResponse, error) {
	return &schedulerpb.ListResponse{Deployments: []*schedulerpb.Status{{
		Id:        &schedulerpb.ID{Namespace: "acme", Service: "greeter"},
		Instances: []*schedulerpb.Instance{{Container: "c1", Started: r.started.Unix()}},
	}}}, nil
}

// TestContainers shows that a container counts from its start on, each second
// once, in the day in which it was.
func TestContainers(t *testing.T) {
	t.Parallel()
	s, _ := setupWith(t, plans.Limits{CPU: 500, Memory: 256 << 20, Requests: plans.Unlimited, Egress: plans.Unlimited})
	midnight := dayOf(today)
	scheduler := running{started: midnight.Add(-100 * time.Second)}
	for _, after := range []time.Duration{10, 10, 30, 25, 60} { // the clock may go back
		s.now = func() time.Time { return midnight.Add(after * time.Second) }
		if err := s.sample(t.Context(), scheduler); err != nil {
			t.Fatal(err)
		}
	}
	s.now = func() time.Time { return today }
	rsp, err := s.Read(as(t, "acme"), &usagepb.ReadRequest{By: []string{"day", "service"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []*usagepb.Row{
		{Day: "2026-11-20", Service: "greeter", CpuMilliSeconds: 100 * 500, MemoryMibSeconds: 100 * 256},
		{Day: "2026-11-21", Service: "greeter", CpuMilliSeconds: 60 * 500, MemoryMibSeconds: 60 * 256},
	}
	if diff := cmp.Diff(want, rsp.GetRows(), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}
