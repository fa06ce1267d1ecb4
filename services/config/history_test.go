package config

import (
	"fmt"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	configpb "github.com/micro/platform/proto/config"
)

func history(t *testing.T, s *Service, req *configpb.HistoryRequest) []*configpb.Version {
	t.Helper()
	rsp, err := s.History(admin(t, "demo"), req)
	if err != nil {
		t.Fatal(err)
	}
	return rsp.GetVersions()
}

// TestHistory shows who is named, what is kept, and what a rollback brings back.
func TestHistory(t *testing.T) {
	t.Parallel()
	s := setup(t) // keeps 5 versions
	ctx := admin(t, "demo")
	if got := history(t, s, &configpb.HistoryRequest{}); len(got) != 0 {
		t.Errorf("history of nothing = %v", got)
	}
	set(t, s, admin(t, "other"), "a", `1`, false)
	set(t, s, ctx, "gone", `1`, false)
	set(t, s, ctx, "a", `1`, false)
	third := set(t, s, ctx, "a.s", `"hush"`, true)
	if _, err := s.Delete(ctx, &configpb.DeleteRequest{Path: "a"}); err != nil {
		t.Fatal(err)
	}
	rsp, err := s.Rollback(ctx, &configpb.RollbackRequest{Version: third})
	if err != nil || rsp.GetVersion() != 5 {
		t.Fatalf("Rollback = %v, %v", rsp, err)
	}
	if got := get(t, s, ctx, "", true); got != `{"a":{"s":"hush"},"gone":1}` {
		t.Errorf("rolled back to %s", got)
	}
	set(t, s, ctx, "b", `1`, false)
	all := history(t, s, &configpb.HistoryRequest{})
	var got string
	for _, v := range all {
		if v.GetAccount() != "jane" || v.GetAccountName() != "jane@example.com" || v.GetCreated() == 0 {
			t.Errorf("version %d does not say who and when: %v", v.GetVersion(), v)
		}
		got += fmt.Sprintf("%d %s %s %d, ", v.GetVersion(), v.GetAction(), v.GetPath(), v.GetRestored())
	}
	if want := "6 set b 0, 5 rollback  3, 4 delete a 0, 3 set a.s 0, 2 set a 0, "; got != want {
		t.Errorf("history = %s, want %s", got, want)
	}
	if got := history(t, s, &configpb.HistoryRequest{Before: 5, Limit: 2}); len(got) != 2 || got[0].GetVersion() != 4 {
		t.Errorf("page of history = %v", got)
	}
	for _, tt := range []struct {
		version int64
		want    codes.Code
	}{{1, codes.NotFound}, {7, codes.NotFound}, {0, codes.InvalidArgument}, {-1, codes.InvalidArgument}} {
		if _, err := s.Rollback(ctx, &configpb.RollbackRequest{Version: tt.version}); errors.Code(err) != tt.want {
			t.Errorf("Rollback(%d) = %v, want %v", tt.version, err, tt.want)
		}
	}
	for _, req := range []*configpb.HistoryRequest{{Before: -1}, {Limit: -1}, {Limit: 101}} {
		if _, err := s.History(ctx, req); errors.Code(err) != codes.InvalidArgument {
			t.Errorf("History(%v) = %v", req, err)
		}
	}
}

// TestConcurrency shows that no change is lost, and that one made for an older
// version is refused.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	s := setup(t)
	ctx := admin(t, "demo")
	const n = 20
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			_, err := s.Set(ctx, &configpb.SetRequest{Path: fmt.Sprintf("k%d", i), Value: &configpb.Value{Data: "1"}})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	kept, err := s.db.read(t.Context(), "demo")
	if err != nil || kept.Version != n {
		t.Errorf("version = %d, %v, want %d", kept.Version, err, n)
	}
	if d, err := kept.load(); err != nil || d.count() != n {
		t.Errorf("%d values are kept of %d, %v", d.count(), n, err)
	}
	for version, want := range map[int64]codes.Code{n - 1: codes.Aborted, n + 2: codes.Aborted, -1: codes.InvalidArgument, n: codes.OK} {
		_, err := s.Set(ctx, &configpb.SetRequest{Path: "x", Value: &configpb.Value{Data: "1"}, ExpectedVersion: version})
		if errors.Code(err) != want {
			t.Errorf("Set for version %d = %v, want %v", version, err, want)
		}
		if want == codes.OK {
			continue
		}
		if _, err := s.Delete(ctx, &configpb.DeleteRequest{Path: "x", ExpectedVersion: version}); errors.Code(err) != want {
			t.Errorf("Delete for version %d = %v, want %v", version, err, want)
		}
	}
}
