package swarm

import (
	"context"
	"testing"
	"time"

	"github.com/docker/docker/api/types/network"

	"github.com/micro/platform/internal/pause"
	"github.com/micro/platform/scheduler/plan"
)

// TestErase removes deployments and the network of a namespace, and nothing of
// another.
func TestErase(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, s := range []plan.Service{b.plan(t, "one", "web", "serve", ":8080"), b.plan(t, "two", "web", "serve", ":8080")} {
		b.apply(t, s)
		b.wait(t, s.ID, running)
	}
	if done, err := b.Erase(t.Context(), "one"); err != nil || done {
		t.Fatalf("the first call: %v, %v; want more to come", done, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for done := false; !done; {
		var err error
		if done, err = b.Erase(ctx, "one"); err != nil {
			t.Fatal(err)
		}
		pause.For(ctx, 200*time.Millisecond) //nolint:errcheck // the next call says it
	}
	for namespace, want := range map[string]int{"one": 0, "two": 1} {
		of := map[string]string{plan.LabelNamespace: namespace}
		containers, err := b.left(t.Context(), of[plan.LabelNamespace])
		if err != nil || containers != want {
			t.Errorf("%s has %d containers, %v; want %d", namespace, containers, err, want)
		}
		networks, err := b.engine.NetworkList(t.Context(), network.ListOptions{Filters: b.having(of)})
		if err != nil || (len(networks) > 0) != (want > 0) {
			t.Errorf("%s has %d networks, %v", namespace, len(networks), err)
		}
	}
	if done, err := b.Erase(t.Context(), "one"); err != nil || !done {
		t.Errorf("once more: %v, %v", done, err)
	}
}
