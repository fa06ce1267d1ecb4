package swarm

import (
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/swarm"

	"github.com/micro/platform/internal/dockerhost"
	"github.com/micro/platform/internal/dockertest"
	schedulerpb "github.com/micro/platform/proto/scheduler"
	"github.com/micro/platform/scheduler/plan"
)

// inSwarm is several, in a swarm that an operator has made.
func inSwarm(t *testing.T) *bench {
	t.Helper()
	engine, err := dockerhost.New()
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	if _, err := engine.SwarmInit(t.Context(), swarm.InitRequest{ListenAddr: "127.0.0.1:2377", AdvertiseAddr: "127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	return several(t)
}

// TestOverlayInGVisor runs services in gVisor on networks over several hosts, in a
// Docker of its own that has it as default runtime.
func TestOverlayInGVisor(t *testing.T) {
	if !dockertest.Apart(t) {
		return
	}
	b := inSwarm(t)
	id, edge := b.edge(t, "serve", ":8081", "proxy")
	one, two := b.plan(t, "one", "web", "find", plan.EdgeName), b.plan(t, "two", "web", "health", "1s")
	two.Hosts = map[string]string{plan.HostGVisor: plan.InGVisor}
	if err := b.mark(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.apply(t, one)
	b.apply(t, two)
	status := b.wait(t, one.ID, running)
	if len(status.GetExits()) > 1 { // on a busy host it is faster than its edge joins
		t.Errorf("it did not find the edge when it started: %v", status.GetExits())
	}
	at, other := status.GetInstances()[0].GetAddress(), b.wait(t, two.ID, running).GetInstances()[0].GetAddress()
	dial := func(address string) string {
		return through(t, edge, at, "/dial", url.Values{"address": {address}})
	}
	for address, want := range map[string]string{plan.EdgeName + ":8081": "yes", other: "no: ", edge: "no: ", "1.1.1.1:53": "no: "} {
		if got := dial(address); !strings.HasPrefix(got, want) {
			t.Errorf("a service reaches %s: %q, want %q", address, got, want)
		}
	}
	if err := b.engine.ContainerKill(t.Context(), id, "KILL"); err != nil {
		t.Fatal(err)
	}
	_, edge = b.edge(t, "serve", ":8081", "proxy")
	poll(t, func() bool { return strings.HasPrefix(dial(plan.EdgeName+":8081"), "yes") })
	b.drains(t, one.ID, edge, at)

	for _, tt := range []struct {
		s    plan.Service
		want *regexp.Regexp
	}{
		{b.plan(t, "two", "greedy", "eat"), regexp.MustCompile("^(killed: out of memory|ended by signal 9 .*memory limit).* 64 MiB")},
		{b.plan(t, "two", "broken", "exit", "7"), regexp.MustCompile("^exited with code 7:")},
	} {
		b.apply(t, tt.s)
		if got := b.wait(t, tt.s.ID, schedulerpb.Status_FAILED).GetReason(); !tt.want.MatchString(got) {
			t.Errorf("%s failed: %q, want %q", tt.s.ID, got, tt.want)
		}
	}
}
