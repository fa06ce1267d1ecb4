package config

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/seal"
	configpb "github.com/micro/platform/proto/config"
)

// TestRekey shows that a process which has not heard of new keys reads and
// writes on, and that nothing is left of the old key.
func TestRekey(t *testing.T) {
	t.Parallel()
	a := setup(t)
	b := New(a.db.pool, a.vault.box, a.hub.log, a.opts)
	if err := b.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, operator := admin(t, "demo"), as(t, identity.Platform, identity.User, "admin")
	set(t, a, ctx, "a", `{"x":1,"y":[2]}`, true)
	set(t, a, admin(t, "other"), "a", `"other"`, true)
	old := keys(t, a)
	rsp, err := a.Rekey(operator, &configpb.RekeyRequest{})
	if err != nil || rsp.GetSecrets() != 6 { // 3, in the documents and in their versions
		t.Fatalf("Rekey = %v, %v", rsp, err)
	}
	if got := get(t, b, ctx, "a", true); got != `{"x":1,"y":[2]}` {
		t.Errorf("a process with the old keys reads %s", got)
	}
	set(t, b, ctx, "b", `"new"`, true)
	if got := get(t, a, ctx, "b", true); got != `"new"` {
		t.Errorf("what another process sealed reads %s", got)
	}
	if got := get(t, a, admin(t, "other"), "a", true); got != `"other"` {
		t.Errorf("another namespace reads %s", got)
	}
	if _, err := a.Rollback(ctx, &configpb.RollbackRequest{Version: 1}); err != nil {
		t.Fatal(err)
	}
	if got := get(t, a, ctx, "", true); got != `{"a":{"x":1,"y":[2]}}` {
		t.Errorf("an old version reads %s", got)
	}
	kept, err := a.db.read(t.Context(), "demo")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.Open(kept.Secrets["a.x"], owner("demo", "a.x")); err == nil {
		t.Error("the old key still opens a secret")
	}

	// One that was interrupted before the old key went is taken up again.
	sealed, err := a.db.keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	both, err := keys(t, a).Add()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.replaceKeys(t.Context(), sealed.Version, both); err != nil {
		t.Fatal(err)
	}
	if rsp, err := a.Rekey(operator, &configpb.RekeyRequest{}); err != nil || rsp.GetSecrets() == 0 || keys(t, a).Len() != 1 {
		t.Errorf("Rekey after an interrupted one = %v, %v, %d keys", rsp, err, keys(t, a).Len())
	}
	if got := get(t, b, ctx, "a.x", true); got != `1` {
		t.Errorf("after it a secret reads %s", got)
	}
	if _, err := a.replaceKeys(t.Context(), sealed.Version, both); errors.Code(err) != codes.Aborted {
		t.Errorf("two at once: %v", err)
	}
}

// TestRekeyInParts shows that a Rekey which has no more time, or whose process
// is killed, is gone on with where it was, and that what was written meanwhile
// is sealed with the new key.
func TestRekeyInParts(t *testing.T) {
	t.Parallel()
	s := setup(t)
	operator := as(t, identity.Platform, identity.User, "admin")
	names := []string{"a", "b", "c", "d"}
	for _, ns := range names {
		set(t, s, admin(t, ns), "s", `"of `+ns+`"`, true)
	}
	old := keys(t, s)
	calls, secrets := 0, int64(0)
	for more := true; more; calls++ {
		process := New(s.db.pool, s.vault.box, s.hub.log, s.opts) // each call finds another one
		process.rekeyTime = 0                                     // for one namespace
		if err := process.Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		rsp, err := process.Rekey(operator, &configpb.RekeyRequest{})
		if err != nil {
			t.Fatal(err)
		}
		more, secrets = rsp.GetMore(), secrets+rsp.GetSecrets()
		set(t, s, admin(t, "a"), "t", `"new"`, true)
		set(t, process, admin(t, "0"), "s", `"before all"`, true)
	}
	if calls != len(names)+1 || secrets != int64(2*len(names)) {
		t.Errorf("%d calls sealed %d secrets, want %d and %d", calls, secrets, len(names)+1, 2*len(names))
	}
	if n := keys(t, s).Len(); n != 1 {
		t.Errorf("%d keys are left, want 1", n)
	}
	for _, ns := range append(names, "0") {
		kept, err := s.db.read(t.Context(), ns)
		if err != nil {
			t.Fatal(err)
		}
		for path, sealed := range kept.Secrets {
			if _, err := old.Open(sealed, owner(ns, path)); err == nil {
				t.Errorf("the old key opens %s of %s", path, ns)
			}
		}
		get(t, s, admin(t, ns), "", true)
	}
}

// TestRekeyMeanwhile shows that writers and readers go on while keys are
// exchanged again and again.
func TestRekeyMeanwhile(t *testing.T) {
	t.Parallel()
	s := setup(t)
	ctx := admin(t, "demo")
	set(t, s, ctx, "a", `0`, true)
	set(t, s, ctx, "b", `"hush"`, true)
	end, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for end.Err() == nil {
				if got := read(s, ctx, "b"); got != `"hush"` {
					t.Errorf("read %s", got)
					return
				}
			}
		})
	}
	all.Go(func() {
		for i := 1; end.Err() == nil; i++ {
			req := &configpb.SetRequest{Path: "a", Value: &configpb.Value{Data: fmt.Sprint(i)}, Options: &configpb.Options{Secret: true}}
			if _, err := s.Set(ctx, req); err != nil {
				t.Error(err)
				return
			}
			if got := read(s, ctx, "a"); got != fmt.Sprint(i) {
				t.Errorf("read %s, want %d", got, i)
				return
			}
		}
	})
	for range 20 {
		if _, err := s.Rekey(as(t, identity.Platform, identity.User, "admin"), &configpb.RekeyRequest{}); err != nil {
			t.Error(err)
		}
	}
	stop()
	all.Wait()
}

// read answers a secret, or why not.
func read(s *Service, ctx context.Context, path string) string {
	rsp, err := s.Get(ctx, &configpb.GetRequest{Path: path, Options: &configpb.Options{Secret: true}})
	if err != nil {
		return err.Error()
	}
	return rsp.GetValue().GetData()
}

// keys answers those that there are now.
func keys(t *testing.T, s *Service) *seal.Keys {
	t.Helper()
	keys, err := s.vault.reload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return keys
}
