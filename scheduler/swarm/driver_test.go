package swarm

import (
	"context"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/swarm"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/dockerhost"
	"github.com/micro/platform/internal/pause"
	schedulerpb "github.com/micro/platform/proto/scheduler"
	"github.com/micro/platform/scheduler/plan"
)

const (
	starting = schedulerpb.Status_STARTING
	running  = schedulerpb.Status_RUNNING
	failed   = schedulerpb.Status_FAILED
	gone     = schedulerpb.Status_GONE
)

func TestServiceRunsLockedDown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := b.plan(t, "ns", "web", "serve", ":8080")
	began := time.Now()
	b.apply(t, s)
	st := b.wait(t, s.ID, running)
	t.Logf("Apply to RUNNING: %v", time.Since(began))
	if len(st.GetInstances()) != 1 || !strings.HasSuffix(st.GetInstances()[0].GetAddress(), ":8080") || st.GetInstances()[0].GetStarted() == 0 {
		t.Errorf("instances = %v", st.GetInstances())
	}
	env := get(t, st, "/env", nil)
	for _, want := range []string{"PORT=8080\n", "MICRO_SERVICE_ADDRESS=:8080\n", "MICRO_PROXY=172.17.0.1:8081\n", "MICRO_SERVICE_NETWORK=172.17.0.1:8081\n", "OWN=yes\n"} {
		if !strings.Contains(env, want) {
			t.Errorf("no %q in\n%s", want, env)
		}
	}
	status := get(t, st, "/status", nil)
	for _, want := range []string{"Uid:\t65532", "CapBnd:\t0000000000000000", "Seccomp:\t2"} {
		if !strings.Contains(status, want) {
			t.Errorf("no %q in\n%s", want, status)
		}
	}
	for path, want := range map[string]string{"/tmp/x": "<nil>", plan.Home + "/x": "<nil>", "/x": "read-only file system"} {
		if got := get(t, st, "/write", url.Values{"path": {path}}); !strings.Contains(got, want) {
			t.Errorf("write %s = %s, want %s", path, got, want)
		}
	}
}

func TestApplyTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := b.plan(t, "ns", "web", "serve", ":8080")
	b.apply(t, s)
	first := b.wait(t, s.ID, running)
	before, _, err := b.engine.ServiceInspectWithRaw(t.Context(), s.Name, swarm.ServiceInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b.apply(t, s)
	after, _, err := b.engine.ServiceInspectWithRaw(t.Context(), s.Name, swarm.ServiceInspectOptions{})
	if err != nil || before.Version != after.Version {
		t.Errorf("version %v became %v, %v", before.Version, after.Version, err)
	}
	s.Instances, s.Hash = 2, "another"
	b.apply(t, s)
	st := b.waitFor(t, s.ID, func(s *schedulerpb.Status) bool { return len(s.GetInstances()) == 2 })
	if st.GetState() != running || first.GetInstances()[0].GetContainer() == "" {
		t.Errorf("%v", st)
	}
}

func TestFailureSaysWhy(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		args []string
		want []string
	}{
		{"exits at once", []string{"exit", "3"}, []string{"exited with code 3", "panic: no database"}},
		{"exits well", []string{"exit", "0"}, []string{"exited with code 0"}},
		{"never listens", []string{"idle"}, []string{"nothing listens on port 8080 ($PORT) after 4s"}},
		{"listens inside only", []string{"serve", "127.0.0.1:8080"}, []string{"nothing listens on port 8080", "127.0.0.1:8080 only"}},
		{"accepts and is silent", []string{"mute"}, []string{"listens on :8080 and says nothing to a call within 2s"}},
		{"never healthy", []string{"health", "never"}, []string{"health (grpc.health.v1) says NOT_SERVING after 4s"}},
		{"eats memory", []string{"eat"}, []string{"out of memory (limit 64 MiB)", "MiB"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			s := b.plan(t, "ns", "bad", tt.args...)
			began := time.Now()
			b.apply(t, s)
			st := b.wait(t, s.ID, failed)
			t.Logf("%v: %s", time.Since(began), st.GetReason())
			for _, want := range tt.want {
				if !strings.Contains(st.GetReason(), want) {
					t.Errorf("reason = %q, want %q in it", st.GetReason(), want)
				}
			}
		})
	}
}

// TestRunningIsHealthy: a program that listens and says that it is not ready yet
// does not run.
func TestRunningIsHealthy(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := b.plan(t, "ns", "slow", "health", "1500ms")
	b.apply(t, s)
	st := b.wait(t, s.ID, running)
	var log []string
	if err := b.Logs(t.Context(), s.ID, 10, false, func(l *schedulerpb.LogLine) error {
		log = append(log, l.GetMessage())
		return nil
	}); err != nil || !slices.Contains(log, "warm") {
		t.Errorf("%v is RUNNING, its log is %q, %v", st, log, err)
	}
}

func TestImageMissing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.image = "sha256:" + strings.Repeat("1", 64)
	s := b.plan(t, "ns", "bad")
	began := time.Now()
	b.apply(t, s)
	defer func() { t.Logf("Apply to FAILED: %v", time.Since(began)) }()
	if st := b.wait(t, s.ID, failed); !strings.Contains(st.GetReason(), "image is not on this host") || !st.GetImageGone() {
		t.Errorf("%v", st)
	}
}

func TestNoRoom(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := b.plan(t, "ns", "big", "serve", ":8080")
	s.Limits.Memory, s.Limits.Reserve = 1<<50, 1<<50
	b.apply(t, s)
	if st := b.wait(t, s.ID, failed); !strings.Contains(st.GetReason(), "no host has room") {
		t.Errorf("reason = %q", st.GetReason())
	}
}

// TestHostLabel asks for a host that is not there.
func TestHostLabel(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := b.plan(t, "ns", "far", "serve", ":8080")
	s.Hosts = map[string]string{"zone": b.opts.Cluster}
	b.apply(t, s)
	if st := b.wait(t, s.ID, failed); !strings.Contains(st.GetReason(), "scheduling constraints not satisfied") {
		t.Errorf("reason = %q", st.GetReason())
	}
}

// TestAnotherPort is what services on Micro v4 do: they listen where they like.
func TestAnotherPort(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := b.plan(t, "ns", "v4", "serve", ":34567")
	b.apply(t, s)
	st := b.wait(t, s.ID, running)
	if !strings.HasSuffix(st.GetInstances()[0].GetAddress(), ":34567") {
		t.Errorf("address = %s", st.GetInstances()[0].GetAddress())
	}
}

func TestCrashAfterRunning(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := b.plan(t, "ns", "web", "serve", ":8080")
	b.apply(t, s)
	st := b.wait(t, s.ID, running)
	began := time.Now()
	crash(t, st)
	again := b.waitFor(t, s.ID, func(s *schedulerpb.Status) bool { return s.GetState() == starting && s.GetReason() != "" })
	if !strings.Contains(again.GetReason(), "exited with code 7") {
		t.Errorf("reason = %q", again.GetReason())
	}
	now := b.wait(t, s.ID, running)
	t.Logf("crash to RUNNING: %v", time.Since(began))
	if now.GetInstances()[0].GetContainer() == st.GetInstances()[0].GetContainer() {
		t.Error("the container is the same")
	}
	if !strings.HasSuffix(now.GetLastExit(), ": exited with code 7") || st.GetLastExit() != "" {
		t.Errorf("the last exit was %q and is %q", st.GetLastExit(), now.GetLastExit())
	}
	container := st.GetInstances()[0].GetContainer()
	if e := now.GetExits(); len(e) != 1 || e[0].GetContainer() != container || e[0].GetExitCode() != 7 || e[0].GetAt() < began.UnixMilli() {
		t.Fatalf("exits are %v", e)
	}
	end, err := b.End(t.Context(), s.ID, container)
	if err != nil || len(end.GetLines()) != 1 || end.GetLines()[0].GetMessage() != "started as serve :8080" || end.GetLines()[0].GetTimestamp() == 0 {
		t.Errorf("the end is %v, %v", end, err)
	}
	if _, err := b.End(t.Context(), s.ID, now.GetInstances()[0].GetContainer()); errors.Code(err) != codes.NotFound {
		t.Errorf("the end of one that runs: %v", err)
	}
}

// TestSpans compares when containers have run with what Docker says: one that is
// removed, one that ends by itself, and one that was there before the scheduler.
func TestSpans(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := b.plan(t, "ns", "web", "serve", ":8080")
	b.apply(t, s)
	first := b.wait(t, s.ID, running)
	inspect := func(container string) (started, ended time.Time) {
		info, err := b.engine.ContainerInspect(t.Context(), container)
		if err != nil {
			t.Fatal(err)
		}
		started, _ = time.Parse(time.RFC3339Nano, info.State.StartedAt)
		ended, _ = time.Parse(time.RFC3339Nano, info.State.FinishedAt)
		return started, ended
	}
	one := first.GetInstances()[0].GetContainer()
	crash(t, first)
	b.waitFor(t, s.ID, func(s *schedulerpb.Status) bool { return s.GetState() == starting })
	second := b.wait(t, s.ID, running)
	two := second.GetInstances()[0].GetContainer()
	spanOf := func(d *Driver, container string) *schedulerpb.Container {
		all, err := d.Containers()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range all {
			if short(c.GetContainer()) == container {
				return c
			}
		}
		return nil
	}
	again := New(b.engine, b.opts, b.log)
	if _, err := again.observe(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*Driver{b.Driver, again} {
		for container, ends := range map[string]bool{one: true, two: false} {
			started, ended := inspect(container)
			want := &schedulerpb.Container{Namespace: "ns", Service: "web", Started: started.UnixMilli(), Millicores: 1000, Memory: 64 << 20}
			if ends {
				want.Ended = ended.UnixMilli()
			}
			got := spanOf(d, container)
			if diff := cmp.Diff(want, got, protocmp.Transform(), protocmp.IgnoreFields(want, "container")); diff != "" {
				t.Error(diff)
			}
		}
	}
	before := time.Now()
	if err := b.Remove(t.Context(), s.ID, 0); err != nil {
		t.Fatal(err)
	}
	after := time.Now()
	b.wait(t, s.ID, gone)
	poll(t, func() bool { return spanOf(b.Driver, two).GetEnded() > 0 })
	if ended := time.UnixMilli(spanOf(b.Driver, two).GetEnded()); ended.Before(before.Truncate(time.Millisecond)) || ended.After(after.Add(lookSeldom)) {
		t.Errorf("removed between %v and %v, ended %v", before, after, ended)
	}
}

// poll waits until something is so.
func poll(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatal("it did not come")
		}
		pause.For(t.Context(), 50*time.Millisecond) //nolint:errcheck // ok says it
	}
}

func TestNamespacesAreApart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one, two, peer := b.plan(t, "one", "web", "serve", ":8080"), b.plan(t, "two", "web", "serve", ":8080"), b.plan(t, "one", "peer", "serve", ":8080")
	addresses := map[plan.ID]*schedulerpb.Status{}
	for _, s := range []plan.Service{one, two, peer} {
		b.apply(t, s)
		addresses[s.ID] = b.wait(t, s.ID, running)
	}
	reach := func(to plan.Service) string {
		return get(t, addresses[one.ID], "/dial", url.Values{"address": {addresses[to.ID].GetInstances()[0].GetAddress()}})
	}
	if got := reach(peer); got != "yes\n" {
		t.Errorf("own namespace: %s", got)
	}
	if got := reach(two); !strings.HasPrefix(got, "no") {
		t.Errorf("another namespace: %s", got)
	}
	// The host's address on Docker's bridge, where the proxy listens.
	gateway, err := dockerhost.Gateway(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", net.JoinHostPort(gateway.String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got := get(t, addresses[two.ID], "/dial", url.Values{"address": {l.Addr().String()}}); got != "yes\n" {
		t.Errorf("the edge: %s", got)
	}
}

func TestRemove(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := b.plan(t, "ns", "web", "serve", ":8080")
	b.apply(t, s)
	b.wait(t, s.ID, running)
	began := time.Now()
	for range 2 { // the second time there is nothing to do
		if err := b.Remove(t.Context(), s.ID, 0); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("Remove: %v", time.Since(began))
	b.wait(t, s.ID, gone)
	if n, _, err := b.hosts.busy(t.Context(), s.ID); err != nil || n != 0 {
		t.Errorf("%d containers, %v", n, err)
	}
}

// crash makes the test program end with code 7.
func crash(t *testing.T, s *schedulerpb.Status) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", s.GetInstances()[0].GetAddress(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := conn.Write([]byte("GET /exit HTTP/1.0\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
}

// TestProvenServiceIsStartedAgain crashes a service until Swarm gives it up.
func TestProvenServiceIsStartedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tender := tender{Driver: b.Driver, retries: map[string]*retry{}}
	s := b.plan(t, "ns", "web", "serve", ":8080")
	b.apply(t, s)
	st := b.wait(t, s.ID, running)
	first := st.GetInstances()[0].GetContainer()
	if err := tender.tend(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range attempts + 1 {
		crash(t, st)
		if st = b.waitFor(t, s.ID, func(s *schedulerpb.Status) bool { return s.GetState() != running }); st.GetState() != failed {
			st = b.waitFor(t, s.ID, func(s *schedulerpb.Status) bool { return s.GetState() == running || s.GetState() == failed })
		}
		if st.GetState() == failed {
			break
		}
	}
	if st.GetState() != failed || !strings.Contains(st.GetReason(), "exited with code 7") {
		t.Fatalf("after %d crashes: %v", attempts+1, st)
	}
	if err := tender.tend(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st = b.wait(t, s.ID, running); st.GetInstances()[0].GetContainer() == first {
		t.Error("the container is the same")
	}
}

// TestOthersStayWhenOneIsStartedAgain crashes one of three instances until Swarm
// gives it up: when it is started again the other two are not touched.
func TestOthersStayWhenOneIsStartedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tender := tender{Driver: b.Driver, retries: map[string]*retry{}}
	s := b.plan(t, "ns", "web", "serve", ":8080")
	s.Instances = 3
	b.apply(t, s)
	st := b.wait(t, s.ID, running)
	keep := map[string]bool{st.GetInstances()[1].GetContainer(): true, st.GetInstances()[2].GetContainer(): true}
	if err := tender.tend(t.Context()); err != nil {
		t.Fatal(err)
	}
	for st.GetState() != failed {
		i := slices.IndexFunc(st.GetInstances(), func(i *schedulerpb.Instance) bool { return !keep[i.GetContainer()] })
		crash(t, &schedulerpb.Status{Instances: st.GetInstances()[i : i+1]})
		if st = b.waitFor(t, s.ID, func(s *schedulerpb.Status) bool { return len(s.GetInstances()) == 2 }); st.GetState() != failed {
			st = b.waitFor(t, s.ID, func(s *schedulerpb.Status) bool { return s.GetState() == running || s.GetState() == failed })
		}
	}
	if err := tender.tend(t.Context()); err != nil {
		t.Fatal(err)
	}
	st = b.wait(t, s.ID, running)
	for _, i := range st.GetInstances() {
		delete(keep, i.GetContainer())
	}
	if len(keep) > 0 {
		t.Errorf("%v were replaced: %v run", keep, st.GetInstances())
	}
}

// refusing is a Docker that refuses to change one service.
type refusing struct {
	Engine
	name string
}

func (r refusing) ServiceUpdate(ctx context.Context, id string, v swarm.Version, s swarm.ServiceSpec, o swarm.ServiceUpdateOptions) (swarm.ServiceUpdateResponse, error) {
	if s.Name == r.name {
		return swarm.ServiceUpdateResponse{}, errors.New(codes.Internal, "no")
	}
	return r.Engine.ServiceUpdate(ctx, id, v, s, o)
}

// TestOneServiceDoesNotHoldUpTheTender: what fails for one service is done for the
// others.
func TestOneServiceDoesNotHoldUpTheTender(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var names []string
	for _, name := range []string{"a", "b", "c"} {
		s := b.plan(t, "ns", name, "serve", ":8080")
		b.apply(t, s)
		b.wait(t, s.ID, running)
		names = append(names, s.Name)
	}
	for _, name := range names { // whichever comes first
		half := New(refusing{b.engine, name}, b.opts, b.log)
		half.hub = b.hub
		tender := tender{Driver: half, retries: map[string]*retry{}}
		if err := tender.tend(t.Context()); err == nil {
			t.Errorf("%s was changed", name)
		}
		found, err := b.read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range found.services {
			if s.Spec.Name != name && s.Spec.Labels[labelProven] == "" {
				t.Errorf("%s was left out because of %s", s.Spec.Name, name)
			}
			s.Spec.Labels[labelProven] = ""
			if _, err := b.engine.ServiceUpdate(t.Context(), s.ID, s.Version, s.Spec, swarm.ServiceUpdateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestClocksApart: the clock of this host, or that of the container's, may be
// minutes off.
func TestClocksApart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := b.plan(t, "ns", "web", "idle")
	b.apply(t, s)
	b.wait(t, s.ID, starting)
	ahead := New(b.engine, b.opts, b.log)
	ahead.now = func() time.Time { return time.Now().Add(5 * time.Minute) }
	if _, err := ahead.observe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st, err := ahead.List(); err != nil || len(st) != 1 || st[0].GetState() != starting {
		t.Errorf("%v, %v", st, err)
	}
}

// TestRunningIsNoted shows that a service is known to have run long before the
// next look at all of them: it may end that soon, and again.
func TestRunningIsNoted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx, stop := context.WithCancel(t.Context())
	var tending sync.WaitGroup
	tending.Go(func() { b.TendLoop(ctx) }) //nolint:errcheck // it ends with ctx
	t.Cleanup(func() { stop(); tending.Wait() })
	s := b.plan(t, "ns", "web", "serve", ":8080")
	b.apply(t, s)
	b.wait(t, s.ID, running)
	for end := time.Now().Add(tendEvery / 2); ; <-time.After(50 * time.Millisecond) {
		found, err := b.read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(found.services) == 1 && found.services[0].Spec.Labels[labelProven] != "" {
			return
		}
		if time.Now().After(end) {
			t.Fatal("it is not noted that the service has run")
		}
	}
}
