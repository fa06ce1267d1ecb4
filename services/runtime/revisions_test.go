package runtime

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/tenants"
	runtimepb "github.com/micro/platform/proto/runtime"
)

func (b *bench) rollback(name string, number int64) (*runtimepb.RollbackResponse, error) {
	return b.svc.Rollback(b.admin, &runtimepb.RollbackRequest{Service: name, Revision: number})
}

func (b *bench) scale(name string, n int64) (*runtimepb.ScaleResponse, error) {
	return b.svc.Scale(b.admin, &runtimepb.ScaleRequest{Service: name, Instances: n})
}

func (b *bench) revisions(name string) []*runtimepb.Revision {
	b.t.Helper()
	rsp, err := b.svc.Revisions(b.admin, &runtimepb.RevisionsRequest{Service: name})
	if err != nil {
		b.t.Fatal(err)
	}
	return rsp.GetRevisions()
}

// history is what revisions there are: number, state, image, kept.
func (b *bench) history(name string) []string {
	var out []string
	for _, r := range b.revisions(name) {
		kept := ""
		if r.GetKept() {
			kept = " kept"
		}
		out = append(out, fmt.Sprintf("%d %d %s%s", r.GetNumber(), r.GetStatus(), r.GetImage()[strings.LastIndex(r.GetImage(), "/")+1:], kept))
	}
	return out
}

func TestRollback(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.reconcile()
	b.create("hello", "github.com/acme/hello", func(r *runtimepb.CreateRequest) { r.Options.Env = []string{"COLOUR=red"} })
	b.settled("hello", running)
	_, err := b.svc.Update(b.admin, &runtimepb.UpdateRequest{
		Resource: &runtimepb.Resource{Service: &runtimepb.Service{Name: "hello", Source: "github.com/acme/other"}},
		Options:  &runtimepb.UpdateOptions{Env: []string{"COLOUR=blue"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.settled("hello", running)
	if _, err := b.scale("hello", 3); err != nil {
		t.Fatal(err)
	}
	var ordered int
	b.world.look(func() { ordered = len(b.world.builds) })

	rsp, err := b.rollback("hello", 0)
	if err != nil || rsp.GetRevision() != 3 || rsp.GetFrom() != 1 {
		t.Fatalf("Rollback = %v, %v", rsp, err)
	}
	b.settled("hello", running)
	b.alone(3)
	b.world.look(func() {
		if got := variable(b.world.env["acme/hello/latest/3"], "COLOUR"); got != "red" {
			t.Errorf("COLOUR is %s after the rollback", got)
		}
		if len(b.world.builds) != ordered {
			t.Errorf("%d builds, %d before the rollback", len(b.world.builds), ordered)
		}
		if got := b.world.deployments["acme/hello/latest/3"].GetWanted(); got != 3 {
			t.Errorf("%d instances after the rollback", got)
		}
	})
	if diff := cmp.Diff([]string{"3 4 1", "2 6 2 kept", "1 6 1 kept"}, b.history("hello")); diff != "" {
		t.Error(diff)
	}
	if got := b.service("hello"); got.GetSource() != "github.com/acme/hello" {
		t.Errorf("source is %s", got.GetSource())
	}
	top := b.revisions("hello")[0]
	if top.GetAuthor() != "alice" || top.GetBuiltAs() != 1 || top.GetCreated() == 0 || top.GetCommit() != "c0ffee" {
		t.Errorf("the newest revision is %v", top)
	}

	// What is rolled back to again is the copy, of the same build.
	if _, err := b.rollback("hello", 2); err != nil {
		t.Fatal(err)
	}
	b.settled("hello", running)
	if _, err := b.rollback("hello", 3); err != nil {
		t.Fatal(err)
	}
	b.settled("hello", running)
	if diff := cmp.Diff([]string{"5 4 1", "4 6 2 kept", "3 6 1 kept"}, b.history("hello")[:3]); diff != "" {
		t.Error(diff)
	}
}

// TestImageOfRollbackIsKept sweeps the revision that an image was built for
// while a copy of it serves.
func TestImageOfRollbackIsKept(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stop := b.reconcile()
	b.create("hello", "github.com/acme/hello")
	b.settled("hello", running)
	b.update("hello", "")
	b.settled("hello", running)
	for range 4 { // 1, 2, 1, 2
		if _, err := b.rollback("hello", 0); err != nil {
			t.Fatal(err)
		}
		b.settled("hello", running)
	}
	stop()
	stop = b.reconcile() // sweeps at its start
	b.await("the one that serves and two that ran are left", func() bool { return len(b.revisions("hello")) == 3 })
	b.world.look(func() {
		if len(b.world.builds) != 2 {
			t.Errorf("builds are %v", b.world.builds)
		}
	})
	stop()
	b.reconcile()
	b.delete("hello")
	b.await("hello is gone", func() bool { return b.service("hello") == nil })
	b.nothing()
}

func TestRollbackRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.reconcile()
	b.create("hello", "github.com/acme/hello")
	b.settled("hello", running)
	b.update("hello", "github.com/acme/bad-code")
	b.settled("hello", failed)
	for _, tt := range []struct {
		name, service string
		number        int64
		want          codes.Code
		says          string
	}{
		{"nothing to undo", "hello", 0, codes.FailedPrecondition, "revision 2 failed and revision 1 goes on serving"},
		{"the one that serves", "hello", 1, codes.FailedPrecondition, "is the one that serves"},
		{"one that never ran", "hello", 2, codes.FailedPrecondition, "never ran"},
		{"one that there is not", "hello", 9, codes.NotFound, "no revision 9"},
		{"a negative one", "hello", -1, codes.InvalidArgument, "revision is -1"},
		{"no such service", "other", 0, codes.NotFound, "not found"},
	} {
		_, err := b.rollback(tt.service, tt.number)
		if errors.Code(err) != tt.want || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	b.update("hello", "github.com/acme/hello")
	b.settled("hello", running)
	if rsp, err := b.rollback("hello", 0); err != nil || rsp.GetFrom() != 1 {
		t.Errorf("Rollback = %v, %v", rsp, err)
	}
}

func TestScale(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.svc.peers.Tenants = tenants.Fixed(plans.FromMap(map[string]int64{"replicas": 4}))
	b.reconcile()
	b.create("hello", "github.com/acme/hello")
	b.settled("hello", running)
	for _, n := range []int64{4, 2} {
		if _, err := b.scale("hello", n); err != nil {
			t.Fatal(err)
		}
		b.await(fmt.Sprintf("%d run", n), func() bool {
			return b.service("hello").GetMetadata()["instances"] == fmt.Sprintf("%d/%d", n, n)
		})
	}
	b.alone(1)
	b.update("hello", "")
	if got := b.settled("hello", running).GetMetadata()["instances"]; got != "2/2" {
		t.Errorf("instances are %s after an update", got)
	}
	for n, want := range map[int64]codes.Code{0: codes.InvalidArgument, 11: codes.InvalidArgument, 5: codes.ResourceExhausted} {
		if _, err := b.scale("hello", n); errors.Code(err) != want {
			t.Errorf("Scale to %d = %v, want %v", n, err, want)
		}
	}
	if _, err := b.scale("other", 1); errors.Code(err) != codes.NotFound {
		t.Errorf("Scale of a service that there is not = %v", err)
	}
}

// TestRevisionsOfOthers asks for those of another namespace, and of one's own
// as somebody who may not deploy.
func TestRevisionsOfOthers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create("hello", "github.com/acme/hello")
	stranger, viewer := as(t.Context(), "eve", "evil", "admin"), as(t.Context(), "victor", "acme")
	for _, call := range []func(context.Context, string) error{
		func(ctx context.Context, ns string) error {
			_, err := b.svc.Revisions(ctx, &runtimepb.RevisionsRequest{Service: "hello", Options: &runtimepb.RevisionOptions{Namespace: ns}})
			return err
		},
		func(ctx context.Context, ns string) error {
			_, err := b.svc.Rollback(ctx, &runtimepb.RollbackRequest{Service: "hello", Options: &runtimepb.RevisionOptions{Namespace: ns}})
			return err
		},
		func(ctx context.Context, ns string) error {
			_, err := b.svc.Scale(ctx, &runtimepb.ScaleRequest{Service: "hello", Instances: 2, Options: &runtimepb.RevisionOptions{Namespace: ns}})
			return err
		},
	} {
		if err := call(stranger, "acme"); errors.Code(err) != codes.PermissionDenied {
			t.Errorf("of another namespace: %v", err)
		}
		if err := call(stranger, ""); errors.Code(err) != codes.NotFound {
			t.Errorf("of one's own, where there is none: %v", err)
		}
	}
	if _, err := b.svc.Scale(viewer, &runtimepb.ScaleRequest{Service: "hello", Instances: 2}); errors.Code(err) != codes.PermissionDenied {
		t.Errorf("as somebody who may not deploy: %v", err)
	}
}
