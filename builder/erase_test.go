package builder

import (
	"testing"
	"time"

	"github.com/docker/docker/api/types/filters"
	dockerimage "github.com/docker/docker/api/types/image"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pgtest"
	builderpb "github.com/micro/platform/proto/builder"
)

// TestErase cancels what is built, and removes builds, jobs, logs and images of
// a namespace; another keeps its own.
func TestErase(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if err := b.workers.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.upload(t, "up", hello)
	for _, ns := range []string{"alpha", "beta"} {
		if _, err := b.Build(component(t), &builderpb.BuildRequest{Id: id(ns, 1), Source: "source://hello:latest", Upload: "up"}); err != nil {
			t.Fatal(err)
		}
		if s := b.await(t, id(ns, 1)); s.GetPhase() != builderpb.State_SUCCEEDED {
			t.Fatalf("build in %s: %v", ns, s)
		}
	}
	if _, err := b.Build(component(t), &builderpb.BuildRequest{Id: id("alpha", 2), Source: "source://hello:latest", Upload: "up"}); err != nil {
		t.Fatal(err)
	}
	api := componentsAPI{s: b.Service}
	operator := identity.With(t.Context(), identity.Caller{ID: "root", Type: identity.User, Namespace: identity.Platform, Scopes: []string{"admin"}})
	if _, err := api.Erase(operator, &builderpb.EraseRequest{Namespace: "alpha"}); errors.Code(err) != codes.PermissionDenied {
		t.Errorf("an operator: %v, want PermissionDenied", err)
	}
	deadline := time.After(time.Minute)
	for done := false; !done; {
		rsp, err := api.Erase(component(t), &builderpb.EraseRequest{Namespace: "alpha"})
		if err != nil {
			t.Fatal(err)
		}
		done = rsp.GetDone()
		select {
		case <-deadline:
			t.Fatal("it is not done after a minute")
		case <-time.After(100 * time.Millisecond):
		}
	}
	if got := pgtest.Rows(t, b.pool, "builder", "alpha"); len(got) > 0 {
		t.Errorf("left: %v", got)
	}
	if got := pgtest.Rows(t, b.pool, "builder", "beta"); got["builds"] != 1 || got["logs"] == 0 {
		t.Errorf("the other namespace has %v", got)
	}
	for ns, want := range map[string]int{"alpha": 0, "beta": 1} {
		images, err := b.docker.ImageList(t.Context(), dockerimage.ListOptions{All: true, Filters: filters.NewArgs(
			filters.Arg("label", "micro.cluster="+b.cluster), filters.Arg("label", "micro.namespace="+ns))})
		if err != nil || len(images) != want {
			t.Errorf("%s has %d images, %v; want %d", ns, len(images), err, want)
		}
		var jobs int
		if err := b.pool.QueryRow(t.Context(), `SELECT count(*) FROM builder.river_job WHERE args->>'Namespace' = $1`, ns).Scan(&jobs); err != nil || (jobs > 0) != (want > 0) {
			t.Errorf("%s has %d jobs, %v", ns, jobs, err)
		}
	}
	if rsp, err := api.Erase(component(t), &builderpb.EraseRequest{Namespace: "alpha"}); err != nil || !rsp.GetDone() {
		t.Errorf("once more: %v, %v", rsp, err)
	}
}
