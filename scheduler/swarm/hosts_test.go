package swarm

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker/docker/api/types/swarm"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	hostpb "github.com/micro/platform/proto/host"
	"github.com/micro/platform/scheduler/plan"
)

// otherHost is a component host that can be made to say nothing.
type otherHost struct {
	hostpb.UnimplementedHostServer
	container *hostpb.Container
	hangs     atomic.Bool
	stopped   []string // is told of
	info      *hostpb.InfoResponse
}

func (o *otherHost) Stop(_ context.Context, req *hostpb.StopRequest) (*hostpb.StopResponse, error) {
	o.stopped = append(o.stopped, req.GetContainers()...)
	return &hostpb.StopResponse{}, nil
}

func (o *otherHost) Info(context.Context, *hostpb.InfoRequest) (*hostpb.InfoResponse, error) {
	if o.info == nil {
		return nil, status.Error(codes.Unavailable, "away")
	}
	return o.info, nil
}

func (o *otherHost) Probe(ctx context.Context, _ *hostpb.ProbeRequest) (*hostpb.ProbeResponse, error) {
	if o.hangs.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &hostpb.ProbeResponse{Containers: []*hostpb.Container{o.container}}, nil
}

// otherHosts serves two, each with one container that has its address as its ID.
func otherHosts(t *testing.T) (map[string]*otherHost, *hosts) {
	t.Helper()
	others := map[string]*otherHost{}
	ways := map[string]*bufconn.Listener{}
	for _, address := range []string{"10.0.0.1", "10.0.0.2"} {
		o, l := &otherHost{container: &hostpb.Container{Id: address, Task: "task of " + address, Running: true, Namespace: "ns", Service: "web", Version: "latest", Revision: 1}}, bufconn.Listen(1<<16)
		s := grpc.NewServer()
		hostpb.RegisterHostServer(s, o)
		go s.Serve(l) //nolint:errcheck // stopped below
		t.Cleanup(s.Stop)
		others[address], ways[address] = o, l
	}
	h := newHosts(nil, func(address string) (*grpc.ClientConn, error) {
		return grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, a string) (net.Conn, error) { return ways[a].DialContext(ctx) }))
	})
	t.Cleanup(h.close)
	return others, h
}

// TestHostAway: what a host had last counts while it does not answer, and holds
// nobody up; it counts no more when the swarm has lost the host.
func TestHostAway(t *testing.T) {
	t.Parallel()
	others, h := otherHosts(t)
	node := func(id, address string, state swarm.NodeState) swarm.Node {
		return swarm.Node{ID: id, Status: swarm.NodeStatus{State: state, Addr: address}}
	}
	look := func(second swarm.NodeState) int {
		t.Helper()
		if err := h.know([]swarm.Node{node("one", "10.0.0.1", swarm.NodeStateReady), node("two", "10.0.0.2", second)}); err != nil {
			t.Fatal(err)
		}
		found, err := h.probe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	if n := look(swarm.NodeStateReady); n != 2 {
		t.Errorf("%d containers on two hosts", n)
	}
	others["10.0.0.2"].hangs.Store(true)
	began := time.Now()
	if n := look(swarm.NodeStateReady); n != 2 {
		t.Errorf("%d containers while one host is away", n)
	}
	if took := time.Since(began); took > 2*askTimeout {
		t.Errorf("a host that is away took %v", took)
	}
	id := plan.ID{Namespace: "ns", Service: "web", Version: "latest", Revision: 1}
	if _, connected, err := h.busy(t.Context(), id); !connected || err != nil {
		t.Errorf("connected: %v, %v, on a host that does not answer", connected, err)
	}
	if h.of(swarm.Task{NodeID: "two"}) != nil || h.of(swarm.Task{NodeID: "one"}) == nil {
		t.Error("the host that is away is asked, or the other is not")
	}
	if n := look(swarm.NodeStateDown); n != 1 {
		t.Errorf("%d containers when one host is down", n)
	}
	others["10.0.0.2"].hangs.Store(false)
	if n := look(swarm.NodeStateReady); n != 2 {
		t.Errorf("%d containers when the host is back", n)
	}
}

// TestPresume: who cannot be asked is believed to run what Swarm says.
func TestPresume(t *testing.T) {
	t.Parallel()
	task := func(state swarm.TaskState) swarm.Task {
		return swarm.Task{
			NodeID:              "two",
			Status:              swarm.TaskStatus{State: state, ContainerStatus: &swarm.ContainerStatus{ContainerID: "c"}},
			Spec:                swarm.TaskSpec{ContainerSpec: &swarm.ContainerSpec{Labels: plan.Labels("x", plan.ID{Namespace: "ns", Service: "web", Version: "latest", Revision: 1})}},
			NetworksAttachments: []swarm.NetworkAttachment{{Addresses: []string{"10.9.0.4/26"}}},
		}
	}
	for _, tt := range []struct {
		name string
		task swarm.Task
		away error
		want string
	}{
		{"runs on", task(swarm.TaskStateRunning), context.DeadlineExceeded, "10.9.0.4"},
		{"has ended", task(swarm.TaskStateFailed), context.DeadlineExceeded, ""},
		{"its host answers", task(swarm.TaskStateRunning), nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHosts(nil, func(string) (*grpc.ClientConn, error) { return nil, nil })
			h.all["two"] = &host{node: "two", away: tt.away}
			c := h.presume(tt.task)
			if c.GetIp() != tt.want || tt.want != "" && (c.GetPort() != plan.Port || c.GetNamespace() != "ns" || !c.GetRunning()) {
				t.Errorf("%v, want one at %q", c, tt.want)
			}
		})
	}
}

// TestTranslate: a host's times are by the clock here, however far off its own is,
// and that of one moment stays the same.
func TestTranslate(t *testing.T) {
	t.Parallel()
	const minute = 60_000_000
	for _, tt := range []struct {
		name         string
		ahead, moved int64 // of the host's clock, in microseconds, and since the look before
		took         int64 // the call
	}{
		{"the same", 0, 0, 1000},
		{"ahead", 5 * minute, 0, 300_000},
		{"behind", -3 * minute, 0, 0},
		{"set right", 0, -5 * minute, 1000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := &agent{}
			const now = 1_800_000_000_000_000
			a.translate(nil, now+tt.ahead-tt.moved, now)
			var last int64
			for i, took := range []int64{tt.took, tt.took / 2} {
				c := &hostpb.Container{Started: now + tt.ahead, Ended: 0}
				a.translate([]*hostpb.Container{c}, now+tt.ahead+minute, now+minute+took)
				if off := c.GetStarted() - now; off < 0 || off > clocksAgree || c.GetEnded() != 0 || i > 0 && c.GetStarted() != last {
					t.Errorf("it started %d µs late, it was %d", off, last-now)
				}
				last = c.GetStarted()
			}
		})
	}
}

func TestAddressOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ own, manager, want string }{
		{"10.0.0.1", "10.0.0.9:2377", "10.0.0.1"},
		{"0.0.0.0", "10.0.0.9:2377", "10.0.0.9"},
		{"", "[fd00::1]:2377", "fd00::1"},
		{"0.0.0.0", "", "0.0.0.0"},
	} {
		n := swarm.Node{Status: swarm.NodeStatus{Addr: tt.own}}
		if tt.manager != "" {
			n.ManagerStatus = &swarm.ManagerStatus{Addr: tt.manager}
		}
		if got := addressOf(n); got != tt.want {
			t.Errorf("%q, %q: %q, want %q", tt.own, tt.manager, got, tt.want)
		}
	}
}
