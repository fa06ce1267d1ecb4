package swarm

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/pause"
	schedulerpb "github.com/micro/platform/proto/scheduler"
	"github.com/micro/platform/scheduler/containers"
)

func TestLogs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := b.plan(t, "ns", "web", "serve", ":8080")
	b.apply(t, s)
	st := b.wait(t, s.ID, running)
	long := strings.Repeat("x", 20<<10)
	for _, text := range []string{"one", "two", "three", long, "colour \x1b[31m"} {
		get(t, st, "/print", url.Values{"text": {text}})
	}
	lines := make(chan *schedulerpb.LogLine, 100)
	send := func(l *schedulerpb.LogLine) error { lines <- l; return nil }
	// Docker cuts a long line in two.
	want := []string{"two", "three", long[:containers.MaxLine], long[containers.MaxLine:], "colour \x1b[31m"}
	// Docker has a line a moment after it was written.
	var got []string
	for deadline := time.Now().Add(15 * time.Second); !slices.Equal(got, want) && time.Now().Before(deadline); {
		if err := b.Logs(t.Context(), s.ID, 5, false, send); err != nil {
			t.Fatal(err)
		}
		got = nil
		for len(lines) > 0 {
			l := <-lines
			got = append(got, l.GetMessage())
			if l.GetContainer() != st.GetInstances()[0].GetContainer() || time.Since(time.UnixMilli(l.GetTimestamp())).Abs() > time.Minute {
				t.Errorf("container %q at %d", l.GetContainer(), l.GetTimestamp())
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d lines: %.300q", len(got), got)
	}

	// Followed across a restart, until the service is removed.
	done := make(chan error, 1)
	go func() { done <- b.Logs(t.Context(), s.ID, 1, true, send) }()
	expect := func(want string) {
		t.Helper()
		select {
		case l := <-lines:
			if l.GetMessage() != want {
				t.Errorf("line %.100q, want %q", l.GetMessage(), want)
			}
		case <-time.After(15 * time.Second):
			t.Fatalf("no line %q", want)
		}
	}
	expect("colour \x1b[31m")
	if l := <-lines; !l.GetReady() {
		t.Errorf("after the lines that were there comes %v", l)
	}
	get(t, st, "/print", url.Values{"text": {"four"}})
	expect("four")
	crash(t, st)
	b.wait(t, s.ID, starting)
	b.wait(t, s.ID, running)
	expect("started as serve :8080")
	if err := b.Remove(t.Context(), s.ID, 0); err != nil {
		t.Error(err)
	}
	expect("stopped by SIGTERM")
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(15 * time.Second):
		t.Fatal("Logs goes on")
	}
	for deadline := time.Now().Add(20 * time.Second); errors.Code(b.Logs(t.Context(), s.ID, 1, false, send)) != codes.NotFound; {
		if pause.For(t.Context(), stopPoll); time.Now().After(deadline) {
			t.Fatal("what is removed still has logs")
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("2026-01-02T03:04:05.000000006Z a=b hello")
	f.Fuzz(func(_ *testing.T, s string) { parseLine(s); taskOf(s) })
}
