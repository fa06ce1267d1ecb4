package swarm

import (
	"context"
	"log/slog"
	"net"
	"testing"

	"github.com/docker/docker/api/types/swarm"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	hostpb "github.com/micro/platform/proto/host"
)

// nodes is an engine that keeps the labels of nodes.
type nodes struct {
	Engine
	all []swarm.Node
}

func (n *nodes) NodeList(context.Context, swarm.NodeListOptions) ([]swarm.Node, error) {
	return n.all, nil
}

func (n *nodes) NodeUpdate(_ context.Context, id string, _ swarm.Version, spec swarm.NodeSpec) error {
	for i := range n.all {
		if n.all[i].ID == id {
			n.all[i].Spec = spec
		}
	}
	return nil
}

// TestMark: a node's label is what its host says, and stays while that says nothing.
func TestMark(t *testing.T) {
	t.Parallel()
	engine := &nodes{}
	ways := map[string]*bufconn.Listener{}
	for _, n := range []struct {
		id, address string
		labels      map[string]string
		info        *hostpb.InfoResponse
	}{
		{"new", "10.0.0.1", nil, &hostpb.InfoResponse{Gvisor: true}},
		{"no more", "10.0.0.2", map[string]string{"micro.zone": "a", "micro.gvisor": "true"}, &hostpb.InfoResponse{}},
		{"away", "10.0.0.3", map[string]string{"micro.gvisor": "true"}, nil},
		{"never", "10.0.0.4", map[string]string{"micro.zone": "b"}, &hostpb.InfoResponse{}},
	} {
		engine.all = append(engine.all, swarm.Node{ID: n.id, Status: swarm.NodeStatus{Addr: n.address}, Spec: swarm.NodeSpec{Annotations: swarm.Annotations{Labels: n.labels}}})
		l, s := bufconn.Listen(1<<16), grpc.NewServer()
		hostpb.RegisterHostServer(s, &otherHost{info: n.info})
		go s.Serve(l) //nolint:errcheck // stopped below
		t.Cleanup(s.Stop)
		ways[n.address] = l
	}
	d := New(engine, Options{Dial: func(address string) (*grpc.ClientConn, error) {
		return grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, a string) (net.Conn, error) { return ways[a].DialContext(ctx) }))
	}}, slog.New(slog.DiscardHandler))
	t.Cleanup(d.Close)
	if err := d.mark(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := map[string]map[string]string{}
	for _, n := range engine.all {
		got[n.ID] = n.Spec.Labels
	}
	want := map[string]map[string]string{
		"new": {"micro.gvisor": "true"}, "no more": {"micro.zone": "a"}, "away": {"micro.gvisor": "true"}, "never": {"micro.zone": "b"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
