package tests

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/micro/platform/scheduler/plan"
	"github.com/micro/platform/tests/platform"
)

// kills is how many instances are killed.
const kills = 4

// TestKilledInstances kills instances of a service with SIGKILL, one after the
// other, while calls go on through both edges: those that may be made twice do not
// fail, and those that may not fail at most where an instance was killed with them
// in its hands.
func TestKilledInstances(t *testing.T) {
	t.Parallel()
	p := start(t, false)
	x := person(t, p, "operator-of-killed")
	expect(t, x, "", "micro new worker")
	rewrite(t, filepath.Join(x.Home, "worker", "proto", "worker.proto"), "rpc Call(Request) returns (Response);",
		"rpc Call(Request) returns (Response) { option idempotency_level = NO_SIDE_EFFECTS; }\n  rpc Change(Request) returns (Response);")
	expect(t, x, "", "cd worker && micro gen")
	handler := filepath.Join(x.Home, "worker", "handler", "worker.go")
	change := "\n// Change is a Call that must not be repeated.\n" +
		"func (w *Worker) Change(ctx context.Context, req *pb.Request, rsp *pb.Response) error { return w.Call(ctx, req, rsp) }\n"
	if err := platform.WriteWorker(filepath.Join(x.Home, "worker"), 0); err != nil {
		t.Fatal(err)
	}
	rewrite(t, handler, "func (*Worker) PingPong", change+"\nfunc (*Worker) PingPong")
	expect(t, x, "running", "micro run --instances 3 ./worker")
	eventually(t, x, "instances=3/3", "micro status worker")
	twice := []kind{
		{"gRPC 20ms", 6, (*traffic).callGRPC}, {"HTTP 20ms", 6, (*traffic).callHTTP},
		{"gRPC 2s", 3, (*traffic).callGRPC}, {"HTTP 2s", 3, (*traffic).callHTTP},
	}
	once := kind{"gRPC 20ms", 4, func(f *traffic, ctx context.Context, name string) error {
		return f.invoke(ctx, "/worker.Worker/Change", name)
	}}
	repeated, changes := startTraffic(t, p, x, twice...), startTraffic(t, p, x, once)
	for range kills {
		killed := killOne(t, p)
		eventually(t, x, "instance "+killed, "micro logs --previous worker 2>&1")
		eventually(t, x, "instances=3/3", "micro status worker")
		t.Logf("instance %s was killed", killed)
	}
	eventually(t, x, fmt.Sprintf("crashing: %d restarts, last: ended by signal 9", kills), "micro status worker")
	ended, failed := repeated.stop()
	t.Logf("calls that may be made twice: %v", ended)
	if len(failed) > 0 {
		t.Errorf("%d of them failed:\n%s", len(failed), strings.Join(failed[:min(len(failed), 20)], "\n"))
	}
	ended, failed = changes.stop()
	t.Logf("calls that may not: %v, of which %d failed", ended, len(failed))
	if most := kills * once.clients; len(failed) > most {
		t.Errorf("%d of them failed, and no more than %d were in the hands of an instance:\n%s", len(failed), most, strings.Join(failed, "\n"))
	}
}

func rewrite(t *testing.T, file, old, now string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), old) {
		t.Fatalf("%s has no %q (%v)", file, old, err)
	}
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), old, now)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// killOne kills one container of a platform's service.
func killOne(t *testing.T, p *platform.Platform) string {
	t.Helper()
	cluster, err := p.Cluster()
	if err != nil {
		t.Fatal(err)
	}
	out, err := platform.Docker(t.Context(), "ps", "-q", "--filter", "label="+plan.LabelCluster+"="+cluster, "--filter", "label="+plan.LabelPart+"="+plan.Part)
	found := strings.Fields(out)
	if err != nil || len(found) == 0 {
		t.Fatalf("no container to kill: %v", err)
	}
	if _, err := platform.Docker(t.Context(), "kill", "--signal", "KILL", found[0]); err != nil {
		t.Fatal(err)
	}
	return found[0]
}
