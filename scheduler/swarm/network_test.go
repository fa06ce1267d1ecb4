package swarm

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"

	"github.com/docker/docker/api/types/swarm"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

func TestFreeSubnet(t *testing.T) {
	t.Parallel()
	pool := netip.MustParsePrefix("10.9.0.0/24")
	var used []netip.Prefix
	for range 4 {
		p, err := freeSubnet(pool, "a", used)
		if err != nil || !pool.Overlaps(p) || overlaps(p, used) {
			t.Fatalf("%v, %v beside %v", p, err, used)
		}
		used = append(used, p)
	}
	if p, err := freeSubnet(pool, "a", used); err == nil {
		t.Errorf("a fifth of four: %v", p)
	}
}

// nodesOf is a Docker whose swarm has nodes in these states.
type nodesOf struct {
	Engine
	states []swarm.NodeState
}

func (n nodesOf) NodeList(context.Context, swarm.NodeListOptions) ([]swarm.Node, error) {
	var out []swarm.Node
	for _, s := range n.states {
		out = append(out, swarm.Node{Status: swarm.NodeStatus{State: s}})
	}
	return out, nil
}

// TestBridgesEndAtTheirHost: with several hosts there are no bridges.
func TestBridgesEndAtTheirHost(t *testing.T) {
	t.Parallel()
	ready, down := swarm.NodeStateReady, swarm.NodeStateDown
	for _, tt := range []struct {
		states []swarm.NodeState
		want   codes.Code
	}{
		{[]swarm.NodeState{ready}, codes.OK},
		{[]swarm.NodeState{ready, down}, codes.OK},
		{[]swarm.NodeState{ready, ready, down}, codes.FailedPrecondition},
	} {
		d := New(nodesOf{states: tt.states}, Options{}, slog.New(slog.DiscardHandler))
		if err := d.alone(t.Context()); errors.Code(err) != tt.want {
			t.Errorf("%v: %v, want %v", tt.states, err, tt.want)
		}
	}
}
