package main

import (
	"strings"
	"testing"
	"time"

	runtimepb "github.com/micro/platform/proto/runtime"
)

func TestStatusOfALoop(t *testing.T) {
	t.Parallel()
	row := statusRow(&runtimepb.Service{Name: "hello", Metadata: map[string]string{
		"last_exit": "ended and was started again", "crashing": "3 restarts, last: exited with code 1 (12s ago)"}}, time.Now())
	if got, want := row[len(row)-1], ", crashing: 3 restarts, last: exited with code 1 (12s ago)"; !strings.HasSuffix(got, want) {
		t.Errorf("the last column is %q, want %q at its end", got, want)
	}
}

func TestAgo(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	for started, want := range map[string]string{
		"2026-05-04T11:59:54Z": "6s ago",
		"2026-05-04T10:57:57Z": "1h2m3s ago",
		"2026-05-03T09:59:55Z": "1d2h0m5s ago",
		"2026-05-04T12:00:09Z": "0s ago",
		"":                     "unknown",
	} {
		if got := ago(started, now); got != want {
			t.Errorf("ago(%s) = %s, want %s", started, got, want)
		}
	}
}
