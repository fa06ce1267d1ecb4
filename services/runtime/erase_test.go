package runtime

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pgtest"
	namespacespb "github.com/micro/platform/proto/namespaces"
	runtimepb "github.com/micro/platform/proto/runtime"
)

// eraseOnce is one call as the component namespaces makes it.
func (b *bench) eraseOnce() bool {
	b.t.Helper()
	ctx := identity.With(b.t.Context(), identity.Caller{ID: "namespaces", Type: identity.Component, Namespace: identity.Platform})
	rsp, err := componentsAPI{s: b.svc}.Erase(ctx, &runtimepb.EraseRequest{Namespace: "acme"})
	if err != nil {
		b.t.Fatal(err)
	}
	return rsp.GetDone()
}

// TestErase removes services with all that runs of them, also when the
// reconciler is cut off meanwhile, and uploads that nothing uses; nothing of
// another namespace.
func TestErase(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stop := b.reconcile()
	source, err := b.upload(b.admin, "mine", "tar")
	if err != nil {
		t.Fatal(err)
	}
	b.create("mine", source)
	for i := range 2 {
		b.create(fmt.Sprint("s", i), fmt.Sprintf("https://example.com/s%d", i))
	}
	if _, err := b.upload(b.admin, "unused", "tar"); err != nil {
		t.Fatal(err)
	}
	other := *b
	other.admin = as(t.Context(), "bob", "other", "admin")
	other.create("theirs", "https://example.com/theirs")
	if _, err := b.upload(other.admin, "theirs", "tar"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mine", "s0", "s1"} {
		b.settled(name, running)
	}
	other.settled("theirs", running)
	before := pgtest.Rows(t, b.svc.db.pool, "runtime", "other")

	for who, ctx := range map[string]string{"a member": "acme", "an operator": identity.Platform} {
		_, err := componentsAPI{s: b.svc}.Erase(as(t.Context(), "x", ctx, "admin"), &runtimepb.EraseRequest{Namespace: "acme"})
		if errors.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: %v, want PermissionDenied", who, err)
		}
	}
	stop()
	for range 2 {
		if b.eraseOnce() {
			t.Fatal("done, while nobody removes containers")
		}
	}
	b.reconcile()
	b.await("the erasure is done", b.eraseOnce)
	if !b.eraseOnce() {
		t.Error("once more there is something")
	}
	if got := pgtest.Rows(t, b.svc.db.pool, "runtime", "acme"); len(got) > 0 {
		t.Errorf("left: %v", got)
	}
	if got := pgtest.Rows(t, b.svc.db.pool, "runtime", "other"); fmt.Sprint(got) != fmt.Sprint(before) {
		t.Errorf("the other namespace has %v, had %v", got, before)
	}
	b.world.look(func() {
		if len(b.world.deployments) != 1 || len(b.world.accounts) != 1 {
			t.Errorf("deployments %v, accounts %v: want those of the other namespace", b.world.deployments, b.world.accounts)
		}
	})
	all := b.bucket.List(nil)
	for x, err := all.Next(t.Context()); err == nil; x, err = all.Next(t.Context()) {
		if !strings.HasPrefix(x.Key, sourcesOf("other")) {
			t.Errorf("left in the bucket: %s", x.Key)
		}
	}
}

// TestGone refuses what comes late for a namespace that is being erased.
func TestGone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tell := b.tell(t)
	tell(&namespacespb.Tenant{Deleted: &namespacespb.Deleted{State: namespacespb.State_ERASING}})
	b.await("it is refused", func() bool {
		_, err := b.svc.Create(b.admin, createRequest("late", "https://example.com/late"))
		return errors.Code(err) == codes.NotFound
	})
}
