package runtime

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	runtimepb "github.com/micro/platform/proto/runtime"
	schedulerpb "github.com/micro/platform/proto/scheduler"
)

// crash ends a container of a deployment, which Docker starts again.
func (b *bench) crash(deployment, container string, at time.Time, code int64, lines ...string) {
	b.world.change(func() {
		for i, l := range lines {
			b.world.ended[container] = append(b.world.ended[container], &schedulerpb.LogLine{
				Timestamp: at.UnixMilli() - int64(len(lines)-i), Message: l, Container: container})
		}
		s := proto.CloneOf(b.world.deployments[deployment])
		s.Exits = append(s.Exits, &schedulerpb.Exit{Container: container, At: at.UnixMilli(), ExitCode: code, Text: fmt.Sprintf("exited with code %d", code)})
		b.world.deployments[deployment] = s
	})
}

func (b *bench) crashes(name string) []*runtimepb.Crash {
	b.t.Helper()
	rsp, err := b.svc.Crashes(b.admin, &runtimepb.CrashesRequest{Service: name})
	if err != nil {
		b.t.Fatal(err)
	}
	return rsp.GetCrashes()
}

// TestCrashesAreKept: the ends of containers stay, with their lines, when Docker
// does not have the containers any more, and when the revision is replaced.
func TestCrashesAreKept(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.reconcile()
	b.create("hello", "github.com/acme/hello")
	b.settled("hello", running)
	now := time.Now()
	b.crash("acme/hello/latest/1", "first", now.Add(-time.Minute), 1, "one", "two")
	b.await("a crash is kept", func() bool { return len(b.crashes("hello")) == 1 })
	if m := b.service("hello").GetMetadata(); m["crashing"] != "" {
		t.Errorf("once is no loop: %s", m["crashing"])
	}
	for i := range 6 {
		b.crash("acme/hello/latest/1", fmt.Sprintf("later-%d", i), now.Add(time.Duration(i-20)*time.Second), 2, "boom\x00")
	}
	b.await("the last five are kept", func() bool {
		all := b.crashes("hello")
		return len(all) == keptCrashes && all[0].GetContainer() == "later-5" && all[4].GetContainer() == "later-1"
	})
	c := b.crashes("hello")[0]
	if c.GetRevision() != 1 || c.GetExitCode() != 2 || c.GetReason() != "exited with code 2" || len(c.GetLines()) != 1 || c.GetLines()[0].GetMessage() != "boom" {
		t.Errorf("the last crash is %v", c)
	}
	if got := b.service("hello").GetMetadata()["crashing"]; !strings.HasPrefix(got, "7 restarts, last: exited with code 2 (1") || !strings.HasSuffix(got, "s ago)") {
		t.Errorf("crashing is %q", got)
	}
	b.update("hello", "")
	b.settled("hello", running)
	b.alone(2)
	if got := len(slices.DeleteFunc(b.crashes("hello"), (*runtimepb.Crash).GetAsked)); got != keptCrashes {
		t.Errorf("%d crashes are left after the update", got)
	}
	if m := b.service("hello").GetMetadata(); m["crashing"] != "" {
		t.Errorf("the new revision did not crash: %s", m["crashing"])
	}
	b.delete("hello")
	b.await("the service is gone", func() bool { return b.service("hello") == nil })
	var left int
	if err := b.svc.db.pool.QueryRow(t.Context(), `SELECT count(*) FROM runtime.crashes`).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d crashes are left of a service that is gone, %v", left, err)
	}
}

// TestCrashLinesAreWaitedFor: lines that cannot be read now are read later, and
// those of a container that is gone are none.
func TestCrashLinesAreWaitedFor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	back := b.world.without("Ended")
	b.reconcile()
	b.create("hello", "github.com/acme/hello")
	b.settled("hello", running)
	b.crash("acme/hello/latest/1", "first", time.Now(), 1, "one")
	b.crash("acme/hello/latest/1", "gone", time.Now().Add(time.Millisecond), 1)
	if got := b.crashes("hello"); len(got) != 0 {
		t.Fatalf("kept without lines: %v", got)
	}
	back()
	b.await("both are kept", func() bool { return len(b.crashes("hello")) == 2 })
	if all := b.crashes("hello"); len(all[0].GetLines()) != 0 || len(all[1].GetLines()) != 1 {
		t.Errorf("crashes are %v", all)
	}
}

// TestFailedStartKeepsItsCrashes: they are there although the containers were
// removed with the revision.
func TestFailedStartKeepsItsCrashes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.reconcile()
	b.world.change(func() {
		b.world.exits = []*schedulerpb.Exit{{Container: "first", At: time.Now().UnixMilli(), ExitCode: 1, Text: "exited with code 1"}}
		b.world.ended["first"] = []*schedulerpb.LogLine{{Message: "no luck"}}
	})
	b.create("hello", "github.com/acme/exits")
	b.settled("hello", failed)
	if all := b.crashes("hello"); len(all) != 1 || len(all[0].GetLines()) != 1 {
		t.Errorf("crashes are %v", all)
	}
}

// TestLogsOutliveContainers: lines of a container that crashed are among those of
// the service, in the order of time, when Docker does not have it any more.
func TestLogsOutliveContainers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.reconcile()
	b.create("hello", "github.com/acme/hello")
	b.settled("hello", running)
	b.crash("acme/hello/latest/1", "first", time.UnixMilli(1_699_999_999_000), 1, "one", "two")
	b.crash("acme/hello/latest/1", "running", time.UnixMilli(1_700_000_001_000), 1, "hello again") // Docker still has it
	b.crash("acme/hello/latest/1", "second", time.UnixMilli(1_700_000_002_000), 1, "three")
	b.await("all are kept", func() bool { return len(b.crashes("hello")) == 3 })
	want := "one two hello from acme/hello/latest/1 three"
	for _, follow := range []bool{false, true} {
		if got := b.logs("hello", 10, follow, 4); got != want {
			t.Errorf("follow %v: the lines are %q, want %q", follow, got, want)
		}
	}
	if got := b.logs("hello", 2, false, 2); got != "hello from acme/hello/latest/1 three" {
		t.Errorf("the last two lines are %q", got)
	}
}

// TestLinesOfWhatWasReplaced: the last lines of containers that were removed on
// purpose are kept, as no crash, the last few of a service.
func TestLinesOfWhatWasReplaced(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.reconcile()
	b.create("hello", "github.com/acme/hello")
	b.settled("hello", running)
	b.update("hello", "")
	b.settled("hello", running)
	all := b.crashes("hello")
	if len(all) != 1 || !all[0].GetAsked() || all[0].GetRevision() != 1 || all[0].GetReason() != "stopped: replaced by revision 2" {
		t.Fatalf("ends are %v", all)
	}
	if lines := all[0].GetLines(); len(lines) != 1 || lines[0].GetMessage() != "hello from acme/hello/latest/1" {
		t.Errorf("its lines are %v", lines)
	}
	if m := b.service("hello").GetMetadata(); m["crashing"] != "" || m["last_exit"] != "" {
		t.Errorf("it counts as a crash: %v", m)
	}
}

// logs answers the first lines of a log.
func (b *bench) logs(name string, count int64, follow bool, lines int) string {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.admin)
	defer cancel()
	out := &logRecorder{ctx: ctx}
	ended := make(chan error, 1)
	go func() { ended <- b.svc.Logs(&runtimepb.LogsRequest{Service: name, Count: count, Stream: follow}, out) }()
	b.await("the lines come", func() bool { return len(out.all()) >= lines })
	cancel()
	<-ended
	var texts []string
	for _, m := range out.all() {
		texts = append(texts, m.GetMessage())
	}
	return strings.Join(texts, " ")
}
