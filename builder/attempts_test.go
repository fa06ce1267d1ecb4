package builder

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/micro/platform/framework/errors"
	builderpb "github.com/micro/platform/proto/builder"
)

// TestAttempts shows that every attempt is told until it is counted, however it
// ended, and that one whose worker died ended with its last sign of life.
func TestAttempts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for revision := range int64(3) {
		if _, err := b.Build(component(t), &builderpb.BuildRequest{Id: id("alpha", revision+1), Upload: "up"}); err != nil {
			t.Fatal(err)
		}
	}
	claim := func(revision int64, started string) {
		t.Helper()
		if _, err := b.db.claim(t.Context(), fromProto(id("alpha", revision)), 1); err != nil {
			t.Fatal(err)
		}
		if _, err := b.pool.Exec(t.Context(), "UPDATE builder.builds SET started_at = now() - $1::interval WHERE revision = $2", started, revision); err != nil {
			t.Fatal(err)
		}
	}
	attempts := func(counted ...*builderpb.Attempt) []*builderpb.Attempt {
		t.Helper()
		rsp, err := b.Attempts(component(t), &builderpb.AttemptsRequest{Counted: counted})
		if err != nil {
			t.Fatal(err)
		}
		return rsp.GetAttempts()
	}
	seconds := func(a *builderpb.Attempt) float64 {
		return time.Duration((a.GetUntil() - a.GetStarted()) * 1000).Round(time.Second).Seconds()
	}
	claim(1, "60 seconds")
	if got := attempts(); len(got) != 1 || got[0].GetEnded() || seconds(got[0]) != 60 {
		t.Fatalf("under way: %v", got)
	}
	if _, err := b.pool.Exec(t.Context(), "UPDATE builder.builds SET heartbeat_at = now() - interval '50 seconds' WHERE revision = 1"); err != nil {
		t.Fatal(err)
	}
	if err := b.workers.recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	claim(2, "20 seconds")
	if err := b.db.cancel(t.Context(), fromProto(id("alpha", 2))); err != nil {
		t.Fatal(err)
	}
	if err := b.db.forget(t.Context(), fromProto(id("alpha", 2))); err != nil {
		t.Fatal(err)
	}
	claim(1, "5 seconds")
	ended := attempts()
	if len(ended) != 3 || seconds(ended[0]) != 5 || seconds(ended[1]) != 10 || seconds(ended[2]) != 20 {
		t.Fatalf("a second attempt, one that was abandoned and one that was canceled: %v", ended)
	}
	if diff := cmp.Diff(ended, attempts(), protocmp.Transform()); diff != "" {
		t.Errorf("told again: %s", diff)
	}
	if left := attempts(ended[1:]...); len(left) != 1 || left[0].GetAttempt() != 2 {
		t.Errorf("when those that have ended are counted: %v", left)
	}
	if _, err := b.Attempts(t.Context(), &builderpb.AttemptsRequest{}); errors.Code(err) != codes.PermissionDenied && errors.Code(err) != codes.Unauthenticated {
		t.Errorf("asked by nobody: %v", err)
	}
}
