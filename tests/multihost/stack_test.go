package multihost

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestStack is deploy/swarm as an operator has it: deployed, used, upgraded, rolled
// back in part, and given another cluster secret.
func TestStack(t *testing.T) {
	if os.Getenv(full) == "" {
		t.Skip("it takes half an hour: make multihost, or " + full + "=1")
	}
	skipWithout(t)
	began := time.Now()
	s, err := NewStack(t.Context(), newRig(t, 0), micro(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.end(t) })
	report.Info("the stack", "hosts, Swarm and stack", time.Since(began).Round(time.Second))
	f := &fixture{site: s, balancer: balance(t, s)}
	f.alice, f.tenant = signup(t, s, "alice")
	f.deploy(t)
	f.goOut(t)
	for _, change := range []struct {
		name string
		do   func(ctx context.Context) error
	}{
		{"the stack is upgraded", func(ctx context.Context) error { return s.Upgrade(ctx, "2") }},
		{"a component is rolled back", func(ctx context.Context) error { return s.goesBack(ctx, "auth", "rollback") }},
		{"a component's next version does not start", func(ctx context.Context) error {
			return s.goesBack(ctx, "store", "update", "--args", "service nothing")
		}},
		{"the cluster secret is exchanged", func(ctx context.Context) error {
			return s.Exchange(ctx, "2", "another cluster secret that only tests use")
		}},
	} {
		traffic, at := underTraffic(t, f.balancer, f.kinds(), settle(), change.do)
		f.judge(t, change.name, traffic, at, none)
		report.Info(change.name, "it took", time.Since(at).Round(time.Second))
	}
	f.alice, f.tenant = signup(t, s, "bob")
	f.deploy(t)
}

// goOut has a service call something outside, and shows that it gets as far as
// the edge by which it leaves its network, which knows it: what it calls is on no
// internet.
func (f *fixture) goOut(t *testing.T) {
	t.Helper()
	const name = "outward"
	command(t, f.alice, "new", name)
	file := filepath.Join(f.alice.Home, name, "handler", name+".go")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	code := strings.NewReplacer(`"io"`, `"io"
	"net/http"`, `rsp.Msg = "Hello " + req.Name`, `out, err := http.Get(req.Name)
	if err != nil {
		return err
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	rsp.Msg = string(b)
	if err != nil {
		return err
	}`).Replace(string(b))
	if err := os.WriteFile(file, []byte(code), 0o644); err != nil {
		t.Fatal(err)
	}
	command(t, f.alice, "run", "./"+name)
	if said := command(t, f.alice, name, "call", "--name=http://10.0.0.1/"); !strings.Contains(said, "is not on the public internet") {
		t.Errorf("a service that calls the outside hears %s", said)
	}
	command(t, f.alice, "kill", name)
}
