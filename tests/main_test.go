package tests

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/micro/platform/tests/platform"
)

// micro is the program under test, built once.
var micro string

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "micro-bin-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	micro = filepath.Join(dir, "micro")
	build := exec.Command("go", "build", "-o", micro, "../cmd/micro")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return 0, fmt.Errorf("build micro: %w", err)
	}
	return m.Run(), nil
}

// modes are the two ways to run the platform.
var modes = []struct {
	name  string
	apart bool
}{
	{"one process", false},
	{"apart", true},
}

// start starts a platform for a test. What it printed shows when the test
// fails.
func start(t *testing.T, apart bool, env ...string) *platform.Platform {
	t.Helper()
	p, err := platform.Start(t.Context(), platform.Config{
		Micro: micro, Dir: t.TempDir(), Apart: apart, Env: env, Log: logger{t},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { leave(t, p) })
	return p
}

// leave stops a platform and removes what it made in Docker.
func leave(t testing.TB, p *platform.Platform) {
	p.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.Remove(ctx); err != nil {
		t.Error(err)
	}
}

type logger struct{ t *testing.T }

func (l logger) Write(b []byte) (int, error) {
	l.t.Logf("%s", b)
	return len(b), nil
}

// person signs somebody up, with a namespace of the name.
func person(t *testing.T, p *platform.Platform, name string) *platform.Person {
	t.Helper()
	x, err := p.Person(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := x.Signup(t.Context(), "correct horse battery staple", name+"-space"); err != nil {
		t.Fatalf("sign up %s: %v: %s", name, err, out)
	}
	return x
}

// sh runs a line at somebody's terminal.
func sh(ctx context.Context, x *platform.Person, line string) (string, error) {
	out, err := x.Command(ctx, "sh", "-c", line).CombinedOutput()
	return string(out), err
}
