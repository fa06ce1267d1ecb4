package runtime

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	builderpb "github.com/micro/platform/proto/builder"
	runtimepb "github.com/micro/platform/proto/runtime"
	schedulerpb "github.com/micro/platform/proto/scheduler"
)

// alone checks that one revision has a deployment, an account and routes, and
// nothing else has.
func (b *bench) alone(number int64) {
	b.t.Helper()
	b.world.look(func() {
		if len(b.world.deployments) != 1 || len(b.world.accounts) != 1 || len(b.world.nodes) != 1 {
			b.t.Errorf("deployments %v, accounts %d, nodes %v: one of each expected", b.world.deployments, len(b.world.accounts), b.world.nodes)
		}
		for n := range b.world.deployments {
			if !strings.HasSuffix(n, fmt.Sprintf("/%d", number)) {
				b.t.Errorf("deployment %s runs, revision %d expected", n, number)
			}
		}
	})
}

func (b *bench) nothing() {
	b.t.Helper()
	b.world.look(func() {
		if len(b.world.deployments)+len(b.world.accounts)+len(b.world.nodes)+len(b.world.builds) > 0 {
			b.t.Errorf("left over: deployments %v, accounts %v, nodes %v, builds %v", b.world.deployments, b.world.accounts, b.world.nodes, b.world.builds)
		}
	})
}

func TestRollout(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.reconcile()
	b.create("hello", "github.com/acme/hello", func(r *runtimepb.CreateRequest) {
		r.Options.Env = []string{"COLOUR=red"}
		r.Options.Secrets = map[string]string{"TOKEN": "t", "GIT_CREDENTIALS": "g"}
	})
	svc := b.settled("hello", running)
	b.alone(1)
	if svc.GetMetadata()["build"] != "c0ffee" || svc.GetMetadata()["owner"] != "alice" || svc.GetMetadata()["group"] != "acme" {
		t.Errorf("metadata is %v", svc.GetMetadata())
	}
	var env []string
	b.world.look(func() { env = b.world.env["acme/hello/latest/1"] })
	for _, want := range []string{"COLOUR=red", "TOKEN=t", "MICRO_NAMESPACE=acme", "MICRO_SERVICE_NAME=hello", "MICRO_PROFILE=service"} {
		if !slices.Contains(env, want) {
			t.Errorf("env has no %s", want)
		}
	}
	if variable(env, gitCredentials) != "" {
		t.Error("the process got the git credentials")
	}
	if n := b.update("hello", ""); n != 2 {
		t.Fatalf("update made revision %d", n)
	}
	b.settled("hello", running)
	b.alone(2)
	b.delete("hello")
	b.await("hello is gone", func() bool { return b.service("hello") == nil })
	b.nothing()
	b.world.look(func() {
		// What is no longer owned may be removed by two, which is no harm.
		if got := slices.Compact(slices.Clone(b.world.drained)); !slices.Equal(got, []int64{2000, 0}) {
			t.Errorf("the revision that was replaced and the one that was deleted had %v ms for their calls", b.world.drained)
		}
	})
}

func TestFailures(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, source, reason string }{
		{"does not compile", "github.com/acme/bad-code", "main.go:3: undefined: x; main.go:4: undefined: y"},
		{"exits", "github.com/acme/exits", "exited with code 1: no luck"},
		{"never registers", "github.com/acme/silent", "the service runs but has not registered"},
		{"registers in part", "github.com/acme/half", "1 of 2 instances have registered within 1s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.reconcile()
			b.create("hello", tt.source, func(r *runtimepb.CreateRequest) { r.Options.Instances = 2 })
			svc := b.settled("hello", failed)
			if got := svc.GetMetadata()["error"]; !strings.HasPrefix(got, tt.reason) {
				t.Errorf("error is %q, want %q", got, tt.reason)
			}
			b.world.look(func() {
				if len(b.world.deployments)+len(b.world.accounts) > 0 {
					t.Errorf("left over: %v, %v", b.world.deployments, b.world.accounts)
				}
			})
			if n := b.create("hello", "github.com/acme/hello"); n != 2 {
				t.Fatalf("a Create after the failure made revision %d", n)
			}
			b.settled("hello", running)
			b.alone(2)
			if _, err := b.scale("hello", 2); err != nil {
				t.Fatal(err)
			}
			b.update("hello", tt.source)
			svc = b.settled("hello", failed)
			if got := svc.GetMetadata()["serving"]; got != "2" {
				t.Errorf("serving is %q while revision 3 has failed", got)
			}
			b.alone(2)
		})
	}
}

// TestStartsTakeTurns: of three starts two are made at once, and the third when one
// of them is over.
func TestStartsTakeTurns(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.reconcile()
	for _, name := range []string{"one", "two", "three"} {
		b.create(name, "github.com/acme/slow")
	}
	waiting := func() (n int) {
		for _, name := range []string{"one", "two", "three"} {
			if strings.HasSuffix(b.service(name).GetMetadata()["status"], "waiting for its turn to start") {
				n++
			}
		}
		return n
	}
	started := func() (n int) {
		b.world.look(func() { n = len(b.world.deployments) })
		return n
	}
	b.await("two are being started", func() bool { return waiting() == 1 && started() == 2 })
	b.world.change(func() {
		for n, s := range b.world.deployments {
			b.world.deployments[n] = &schedulerpb.Status{Id: s.GetId(), State: schedulerpb.Status_RUNNING, Wanted: 1, Instances: make([]*schedulerpb.Instance, 1)}
		}
	})
	b.await("the third is being started", func() bool { return waiting() == 0 && started() == 3 })
}

func TestCrashAndRecovery(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.reconcile()
	b.create("hello", "github.com/acme/hello")
	b.settled("hello", running)
	set := func(st schedulerpb.Status_State, reason string) {
		b.world.change(func() {
			old := b.world.deployments["acme/hello/latest/1"]
			b.world.deployments["acme/hello/latest/1"] = &schedulerpb.Status{Id: old.GetId(), State: st, Reason: reason}
		})
	}
	set(schedulerpb.Status_FAILED, "exited with code 2: panic: oh no")
	if got := b.settled("hello", failed).GetMetadata()["error"]; got != "exited with code 2: panic: oh no" {
		t.Errorf("error is %q", got)
	}
	set(schedulerpb.Status_RUNNING, "")
	b.settled("hello", running)
	b.world.change(func() { delete(b.world.deployments, "acme/hello/latest/1") })
	b.await("it is started again", func() bool {
		var n int
		b.world.look(func() { n = len(b.world.deployments) })
		return n == 1 && b.idle()
	})
	b.settled("hello", running)
	b.alone(1)
}

func TestSchedulerAway(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.reconcile()
	b.create("hello", "github.com/acme/hello")
	b.settled("hello", running)
	b.world.change(func() { b.world.away = true })
	b.create("other", "github.com/acme/other")
	b.await("both say that Docker is away", func() bool {
		return strings.Contains(b.service("hello").GetMetadata()["status"], "Docker is not reachable") &&
			strings.Contains(b.service("other").GetMetadata()["status"], "Docker is not reachable")
	})
	if b.service("hello").GetStatus() != running.status() || b.service("other").GetStatus() != starting.status() {
		t.Error("a state has changed because nothing is known")
	}
	b.world.change(func() { b.world.away = false })
	b.settled("other", running)
	b.await("the reason is gone", func() bool { return b.service("hello").GetMetadata()["status"] == "running" })
}

func TestDeleteWhileBuilding(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.world.hold = true
	b.reconcile()
	b.create("hello", "github.com/acme/hello")
	b.await("it builds", func() bool { return b.service("hello").GetStatus() == building.status() })
	b.delete("hello")
	b.await("it is gone", func() bool { return b.service("hello") == nil })
	b.nothing()
}

func TestNewestRevisionWins(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.world.hold = true
	b.reconcile()
	b.create("hello", "github.com/acme/hello")
	b.await("it builds", func() bool { return b.service("hello").GetStatus() == building.status() })
	b.world.change(func() { b.world.hold = false })
	b.create("hello", "github.com/acme/hello", force)
	b.settled("hello", running)
	b.alone(2)
	b.world.look(func() {
		if got := b.world.builds["acme/hello/latest/1"].GetPhase(); got != builderpb.State_CANCELED {
			t.Errorf("the replaced build is %v", got)
		}
	})
}

func TestOldRevisionsAreForgotten(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stop := b.reconcile()
	b.create("hello", "github.com/acme/hello")
	for range 4 {
		b.settled("hello", running)
		b.update("hello", "")
	}
	b.settled("hello", running)
	stop()
	b.reconcile() // sweeps at its start
	b.await("the revision that serves and two that ran are left, with their builds", func() bool {
		all, err := b.svc.db.revisions(t.Context(), key{"acme", "hello", "latest"})
		var builds int
		b.world.look(func() { builds = len(b.world.builds) })
		return err == nil && len(all) == 3 && builds == 3
	})
	b.alone(5)
}

// TestCrashAnywhere kills the reconciler before and after each effect of a
// rollout and a deletion, starts another, and sees it come to the same end.
func TestCrashAnywhere(t *testing.T) {
	t.Parallel()
	scenario := func(t *testing.T, b *bench) {
		b.create("hello", "github.com/acme/hello")
		b.settled("hello", running)
		b.alone(1)
		b.update("hello", "github.com/acme/exits")
		b.settled("hello", failed)
		b.alone(1)
		b.update("hello", "github.com/acme/hello")
		b.settled("hello", running)
		b.alone(3)
		b.delete("hello")
		b.await("it is gone", func() bool { return b.service("hello") == nil })
		b.nothing()
		if b.world.most > 2 {
			t.Errorf("%d deployments ran at once", b.world.most)
		}
	}
	var points atomic.Int64
	t.Run("nowhere", func(t *testing.T) {
		b := setup(t)
		b.world.point = func(string) error { points.Add(1); return nil }
		b.reconcile()
		scenario(t, b)
	})
	for n := int64(1); n <= points.Load(); n++ {
		t.Run(fmt.Sprintf("at %d", n), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			var seen atomic.Int64
			var dead atomic.Bool
			killed := make(chan struct{})
			b.world.point = func(name string) error {
				if seen.Add(1) == n {
					dead.Store(true)
					close(killed)
				}
				if dead.Load() { // what is killed hears nothing more
					return errors.New(codes.Unavailable, "killed %s", name)
				}
				return nil
			}
			stop := b.reconcile()
			var successor sync.WaitGroup
			successor.Go(func() {
				select {
				case <-killed:
					stop()
					dead.Store(false)
					b.reconcile()
				case <-t.Context().Done(): // this time there were fewer effects
				}
			})
			t.Cleanup(successor.Wait)
			scenario(t, b)
		})
	}
}

// TestImageGone: a service whose image is gone is built again by itself, whether
// that is found while it runs or while it starts; not for ever when that does
// not help.
func TestImageGone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.reconcile()
	b.create("hello", "github.com/acme/hello")
	b.settled("hello", running)
	const name = "acme/hello/latest/1"
	lose := func() {
		b.world.change(func() {
			id := b.world.deployments[name].GetId()
			delete(b.world.builds, name)
			b.world.deployments[name] = &schedulerpb.Status{Id: id, State: schedulerpb.Status_FAILED, Reason: "no image", ImageGone: true}
		})
	}
	lose()
	b.await("it is built again", func() bool {
		var s *schedulerpb.Status
		b.world.look(func() { s = b.world.deployments[name] })
		return s.GetState() == schedulerpb.Status_RUNNING && b.idle()
	})
	b.settled("hello", running)
	b.alone(1)
	lose()
	if got := b.settled("hello", failed).GetMetadata()["error"]; got != "no image" {
		t.Errorf("error is %q", got)
	}
	if _, err := b.svc.db.pool.Exec(t.Context(), `UPDATE runtime.revisions SET unbuilt_at = now() - interval '1 hour'`); err != nil {
		t.Fatal(err)
	}
	lose() // heard of once more, much later
	b.settled("hello", running)
}

// TestDismissedAtTheLastMoment replaces a revision that is about to take over:
// the one before it, which serves, keeps its routes.
func TestDismissedAtTheLastMoment(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.reconcile()
	b.create("hello", "github.com/acme/hello")
	b.settled("hello", running)
	dismiss := sync.OnceFunc(func() { b.update("hello", "github.com/acme/exits") })
	b.world.change(func() {
		b.world.point = func(name string) error {
			if name == "after List" { // it has registered
				dismiss()
			}
			return nil
		}
	})
	b.update("hello", "")
	b.settled("hello", failed)
	b.alone(1)
	if got := b.service("hello").GetMetadata(); got["serving"] != "1" || got["instances"] != "1/1" {
		t.Errorf("revision %s serves, %s instances", got["serving"], got["instances"])
	}
}

// TestImageGoneInPart: a service of which one instance has lost its image goes on
// serving while it is built again, also if it is updated meanwhile, in vain.
func TestImageGoneInPart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.reconcile()
	b.create("hello", "github.com/acme/hello", func(r *runtimepb.CreateRequest) { r.Options.Instances = 2 })
	b.settled("hello", running)
	const name = "acme/hello/latest/1"
	b.world.change(func() {
		b.world.hold = true
		delete(b.world.builds, name)
		b.world.deployments[name] = &schedulerpb.Status{Id: b.world.deployments[name].GetId(), State: schedulerpb.Status_FAILED, Reason: "no image",
			ImageGone: true, Wanted: 2, Instances: make([]*schedulerpb.Instance, 1)}
	})
	b.await("it is built again", func() bool { return b.service("hello").GetStatus() == building.status() })
	b.world.change(func() { b.world.hold = false })
	b.update("hello", "github.com/acme/bad-code")
	b.await("the update has failed", func() bool { return b.service("hello").GetStatus() == failed.status() })
	b.alone(1)
	if got := b.service("hello").GetMetadata(); got["serving"] != "1" || got["instances"] != "1/2" {
		t.Errorf("revision %s serves, %s instances", got["serving"], got["instances"])
	}
	b.world.change(func() {
		b.world.builds[name] = &builderpb.State{Phase: builderpb.State_SUCCEEDED, Image: "sha256:" + name}
	})
	b.await("both instances run", func() bool { return b.idle() && b.revisions("hello")[1].GetReady() == 2 })
	b.alone(1)
}
